"""Pings a PostgreSQL server by psycopg2, and prints how often in which form, as JSON.

Arguments: port, rounds, sslmode. Copies in both directions and many rows come in between.
"""

import io
import json
import random
import sys

import psycopg2

port, rounds, sslmode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
choice = random.Random(7)
pings = dict.fromkeys(["select_1", "commented_select_1", "empty_query"], 0)
work = 0


def connect():
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="vitals", password="secret",
                                  dbname="vitals", sslmode=sslmode, gssencmode="disable")
    connection.autocommit = True
    return connection


def run(connection, sql):
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.ProgrammingError:
            return  # psycopg2 cannot execute an empty query, but sends it.
        if cursor.description:
            cursor.fetchall()


connections = [connect() for _ in range(3)]
for connection in connections:
    run(connection, "CREATE TEMP TABLE t (a text)")
    work += 1
for _ in range(rounds):
    connection = choice.choice(connections)
    if choice.random() < 0.7:
        form = choice.choice(list(pings))
        run(connection, {"select_1": "SELECT 1", "commented_select_1": "/* ping */ SELECT 1",
                         "empty_query": ";"}[form])
        pings[form] += 1
    if choice.random() < 0.7:
        run(connection, "SELECT i, repeat('x', %d) FROM generate_series(1, %d) i"
            % (choice.choice([10, 300]), choice.choice([1, 20, 60])))
        work += 1
    if choice.random() < 0.05:
        with connection.cursor() as cursor:
            cursor.copy_expert("COPY t FROM STDIN", io.StringIO("S\x01\x02\x04\n" * 500))
            cursor.copy_expert("COPY t TO STDOUT", io.StringIO())
        work += 2
for connection in connections:
    connection.close()
for _ in range(10):
    connection = connect()
    run(connection, "SELECT 1")
    pings["select_1"] += 1
    connection.close()
print(json.dumps({"pings": pings, "work": work, "connections": 13}))
