"""Pings a MySQL server by PyMySQL in every form it has, and prints how often, as JSON.

Arguments: port, rounds, and `tls` or nothing. The work between the pings returns and sends what a
listener could mistake for more: many rows, and statements full of a ping's bytes.
"""

import json
import random
import sys

import pymysql

port, rounds, tls = int(sys.argv[1]), int(sys.argv[2]), "tls" in sys.argv
choice = random.Random(7)
pings = dict.fromkeys(["com_ping", "select_1", "commented_select_1", "com_statistics",
                       "com_reset_connection"], 0)
work = 0


def connect():
    return pymysql.connect(host="127.0.0.1", port=port, user="vitals", password="secret",
                           autocommit=None, ssl={"check_hostname": False} if tls else None)


def query(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def ping(connection):
    form = choice.choice(list(pings))
    if form == "com_ping":
        connection.ping(reconnect=False)
    elif form == "select_1":
        query(connection, "SELECT 1")
    elif form == "commented_select_1":
        query(connection, "/* ping */ SELECT 1")
    elif form == "com_statistics":
        connection._execute_command(0x09, b"")
        connection._read_packet()
    else:
        connection._execute_command(0x1F, b"")
        connection._read_ok_packet()
    pings[form] += 1


ROWS = "WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < %d) " \
       "SELECT i, repeat('\x01', %d) FROM s"

connections = [connect() for _ in range(3)]
for _ in range(rounds):
    connection = choice.choice(connections)
    if choice.random() < 0.7:
        ping(connection)
    if choice.random() < 0.7:
        query(connection, ROWS % (choice.choice([1, 20, 60]), choice.choice([10, 300])))
        work += 1
    if choice.random() < 0.1:
        with connection.cursor() as cursor:
            cursor.execute("SELECT length(%s)", (b"\x01\x00\x00\x00\x0e" * 2000,))
            cursor.fetchall()
        work += 1
for connection in connections:
    connection.close()
for _ in range(10):
    connection = connect()
    connection.ping(reconnect=False)
    pings["com_ping"] += 1
    connection.close()
print(json.dumps({"pings": pings, "work": work, "connections": 13}))
