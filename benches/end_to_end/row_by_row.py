"""Fills the layout `aegis` like a service that uses Prisma: row_by_row.py URL DUMP

Each event is one upsert in its own transaction, over ten connections like those of a pool. The statement is the one that
Prisma sends: INSERT … ON CONFLICT … DO UPDATE … RETURNING all columns. The costs of Prisma itself (client, engine and the JSON
between them) are missing, so the result is faster than Prisma. Statements are prepared once per connection. Two processes with
five threads each keep the overhead of Python low.
"""

import multiprocessing
import sys
import threading

import orjson
import psycopg
from rows import lines, parts

PROCESSES = 2
CONNECTIONS = 5  # per process

COLUMNS = (
    "EventId TimeStamp TotalVictimKillFame battleAlbionId killerId killerName killerGuild killerAlliance killerAvgIP "
    "victimId victimName victimGuild victimAlliance victimAvgIP killerEquipment victimEquipment"
).split()
QUOTED = [f'"{column}"' for column in COLUMNS]
UPSERT = (
    f'INSERT INTO "KillEvent" ({", ".join(QUOTED)}) VALUES ({", ".join(["%s"] * len(COLUMNS))}) '
    f'ON CONFLICT ("EventId") DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in QUOTED)} '
    f'RETURNING {", ".join(QUOTED)}, "ingestedAt"'
)


def row(event):
    # Truncate to milliseconds, as JavaScript's Date does.
    values = [
        event["EventId"],
        event["TimeStamp"].rstrip("Z")[:23],
        event["TotalVictimKillFame"],
        event.get("BattleId"),
    ]
    players = (event["Killer"], event["Victim"])
    for player in players:
        values += (
            player["Id"],
            player["Name"],
            player.get("GuildName") or None,
            player.get("AllianceName") or None,
            player.get("AverageItemPower") or 0,
        )
    for player in players:
        equipment = player.get("Equipment")
        values.append(None if equipment is None else orjson.dumps(equipment).decode())
    return values


def load(url, dump, begin, end):
    left, turn, failures = lines(dump, begin, end), threading.Lock(), []

    def connection_of_the_pool():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while True:
                    with turn:
                        line = next(left, None)
                    if line is None:
                        return
                    connection.execute(UPSERT, row(orjson.loads(line)), prepare=True).fetchone()
        except Exception as error:  # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=connection_of_the_pool) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def main():
    url, dump = sys.argv[1:]
    processes = [multiprocessing.Process(target=load, args=(url, dump, *part)) for part in parts(dump, PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process failed")


if __name__ == "__main__":
    main()
