"""Pings a PostgreSQL server by asyncpg, plainly and prepared, and prints how often, as JSON.

Arguments: port, rounds.
"""

import asyncio
import json
import sys

import asyncpg

port, rounds = int(sys.argv[1]), int(sys.argv[2])


async def main():
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="vitals",
                                       password="secret", database="vitals", ssl=False)
    for number in range(rounds):
        await connection.execute("SELECT 1")
        await connection.fetchval("SELECT 1")
        await connection.fetch("SELECT i FROM generate_series(1, $1) i", number % 50)
    await connection.close()
    print(json.dumps({"pings": {"select_1": 2 * rounds}, "work": rounds, "connections": 1}))


asyncio.run(main())
