"""Loads a dump into the layout `archive` with DuckDB: duckdb_load.py URL DUMP psql|extension

DuckDB reads the lines on two threads. The types of all columns are given, so that it infers no types and skips unused
fields. It writes in two sessions, each with half of the events in the order of the keys: `psql` sends them as CSV through
psql, `extension` inserts them through DuckDB's PostgreSQL extension, which is a package of its own.
"""

import importlib.util
import os
import subprocess
import sys
import threading

import duckdb
from rows import SLOTS, TABLES

ITEM = 'STRUCT("Type" VARCHAR, "Count" INTEGER, "Quality" SMALLINT, "LegendarySoul" JSON)'
EQUIPMENT = "STRUCT(" + ", ".join(f'"{name}" {ITEM}' for name in SLOTS.values()) + ")"
PLAYER = (
    'STRUCT("Id" VARCHAR, "Name" VARCHAR, "GuildId" VARCHAR, "GuildName" VARCHAR, "AllianceId" VARCHAR, '
    '"AllianceName" VARCHAR, "AverageItemPower" DOUBLE, "KillFame" BIGINT, "DeathFame" BIGINT, "DamageDone" DOUBLE, '
    f'"SupportHealingDone" DOUBLE, "Equipment" {EQUIPMENT}, "Inventory" {ITEM}[])'
)
EVENT = {
    "EventId": "BIGINT",
    "TimeStamp": "VARCHAR",
    "BattleId": "BIGINT",
    "TotalVictimKillFame": "BIGINT",
    "numberOfParticipants": "INTEGER",
    "groupMemberCount": "INTEGER",
    "KillArea": "VARCHAR",
    "Category": "VARCHAR",
    "Type": "VARCHAR",
    "Location": "VARCHAR",
    "Version": "INTEGER",
    "GvGMatch": "JSON",
    "Killer": PLAYER,
    "Victim": PLAYER,
    "Participants": PLAYER + "[]",
    "GroupMembers": PLAYER + "[]",
}

# All records of a player, ranked by the list and the position in it. The lowest rank is the richest record.
RECORDS = """
CREATE TABLE record AS
SELECT "EventId" AS event_id, 0 AS rank, "Killer" AS p FROM raw
UNION ALL SELECT "EventId", 1, "Victim" FROM raw
UNION ALL SELECT "EventId", 10000 + generate_subscripts("Participants", 1), unnest("Participants") FROM raw
UNION ALL SELECT "EventId", 20000 + generate_subscripts("GroupMembers", 1), unnest("GroupMembers") FROM raw"""

# The few values that are not from the richest record are aggregated separately, because complete rows are wide.
PLAYERS = """
CREATE TABLE player AS
SELECT event_id, min(rank) AS rank, bool_or(rank > 20000) AS in_group,
       arg_min(p."DamageDone", rank) FILTER (rank BETWEEN 10001 AND 20000) AS damage_done,
       arg_min(p."SupportHealingDone", rank) FILTER (rank BETWEEN 10001 AND 20000) AS healing_done,
       arg_min(p."KillFame", rank) FILTER (rank > 20000) AS share
  FROM record GROUP BY event_id, p."Id" """


def text(field):
    return f"nullif({field}, '')"


def item(slot):
    return f"""{text(f'p."Equipment"."{slot}"."Type"')}, p."Equipment"."{slot}"."Quality" """


QUERIES = {
    "kill_event": f"""
        SELECT 'europe', "EventId" AS event_id, left(rtrim("TimeStamp", 'Z'), 26) || 'Z', "BattleId", "TotalVictimKillFame",
               "Killer"."Id", "Victim"."Id", "numberOfParticipants", "groupMemberCount", {text('"KillArea"')},
               {text('"Category"')}, {text('"Type"')}, {text('"Location"')}, "Version", nullif("GvGMatch", 'null')
          FROM raw WHERE event_id BETWEEN $first AND $last ORDER BY event_id""",
    "kill_player": f"""
        SELECT 'europe', event_id, p."Id" AS player_id,
               CASE WHEN rank = 0 THEN 'killer' WHEN rank = 1 THEN 'victim' WHEN rank > 20000 THEN 'group'
                    ELSE 'participant' END,
               in_group, {text('p."Name"')}, {text('p."GuildId"')}, {text('p."GuildName"')}, {text('p."AllianceId"')},
               {text('p."AllianceName"')},
               CASE WHEN rank > 20000 THEN nullif(p."AverageItemPower", 0) ELSE p."AverageItemPower" END,
               CASE WHEN rank BETWEEN 10001 AND 20000 THEN coalesce(share, p."KillFame") ELSE p."KillFame" END,
               p."DeathFame", damage_done, healing_done, {", ".join(map(item, SLOTS.values()))},
               p."Equipment"."Potion"."Count", p."Equipment"."Food"."Count",
               nullif(p."Equipment"."MainHand"."LegendarySoul", 'null')
          FROM player JOIN record USING (event_id, rank)
         WHERE event_id BETWEEN $first AND $last ORDER BY event_id, player_id""",
    "kill_loot": f"""
        SELECT 'europe', event_id, slot, {text('item."Type"')}, item."Quality", item."Count",
               nullif(item."LegendarySoul", 'null')
          FROM (SELECT "EventId" AS event_id, generate_subscripts("Victim"."Inventory", 1) - 1 AS slot,
                       unnest("Victim"."Inventory") AS item FROM raw)
         WHERE item IS NOT NULL AND event_id BETWEEN $first AND $last ORDER BY event_id, slot""",
}


def send(connection, url, first, last):
    """Writes the rows of a range of events, through a psql of its own."""
    for table, query in QUERIES.items():
        reads, writes = os.pipe()
        copy = f"\\copy {table} ({', '.join(TABLES[table])}) FROM STDIN WITH (FORMAT csv)"
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", copy]
        psql = subprocess.Popen(command, stdin=reads)
        os.close(reads)
        connection.execute(
            f"COPY ({query}) TO '/dev/fd/{writes}' (FORMAT csv, HEADER false)", {"first": first, "last": last}
        )
        os.close(writes)
        if psql.wait() != 0:
            raise RuntimeError(f"psql failed for {table}")


def insert(connection, url, first, last):
    """Writes the rows of a range of events, through the attached database and in one transaction."""
    connection.execute("BEGIN")
    for table, query in QUERIES.items():
        connection.execute(
            f"INSERT INTO pg.{table} ({', '.join(TABLES[table])}) {query}", {"first": first, "last": last}
        )
    connection.execute("COMMIT")


def attach(connection, url):
    """Loads the extension from its package, without a download, and attaches the database as `pg`."""
    package = importlib.util.find_spec("duckdb_extension_postgres_scanner").submodule_search_locations[0]
    file = os.path.join(package, "extensions", f"v{duckdb.__version__}", "postgres_scanner.duckdb_extension")
    connection.execute(f"LOAD '{file}'")
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres)")


def main():
    url, dump, way = sys.argv[1:]
    connection = duckdb.connect(config={"threads": 2})
    if way == "extension":
        attach(connection, url)
    write = {"psql": send, "extension": insert}[way]
    connection.read_json(dump, columns=EVENT, format="newline_delimited").create("raw")
    connection.execute(RECORDS)
    connection.execute(PLAYERS)
    least, middle, most = connection.execute(
        'SELECT min("EventId"), quantile_disc("EventId", 0.5), max("EventId") FROM raw'
    ).fetchone()
    failures = []

    def half(first, last):
        try:
            write(connection.cursor(), url, first, last)
        except Exception as error:  # reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=half, args=range_) for range_ in ((least, middle), (middle + 1, most))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


main()
