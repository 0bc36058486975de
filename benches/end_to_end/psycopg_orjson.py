"""Loads a dump into the layout `archive` with psycopg 3 and orjson: psycopg_orjson.py URL DUMP

Two processes take half of the dump each, and send a COPY for each table and every 1,000 events.
"""

import itertools
import multiprocessing
import sys

import orjson
import psycopg
from rows import SLOTS, TABLES, lines, parts

BATCH = 1000


def text(value):
    return value or None


def document(value):
    return None if value is None or value == "" else orjson.dumps(value).decode()


def event_row(event):
    stamp = event["TimeStamp"]
    return (
        "europe",
        event["EventId"],
        # Cut, as PostgreSQL would round.
        stamp[:26] + "Z" if len(stamp) > 27 else stamp,
        event.get("BattleId"),
        event["TotalVictimKillFame"],
        event["Killer"]["Id"],
        event["Victim"]["Id"],
        event.get("numberOfParticipants"),
        event.get("groupMemberCount"),
        text(event.get("KillArea")),
        text(event.get("Category")),
        text(event.get("Type")),
        text(event.get("Location")),
        event.get("Version"),
        document(event.get("GvGMatch")),
    )


def player_rows(event, rows):
    killer, victim = event["Killer"], event["Victim"]
    participants, members = ({}, {})
    for player in event.get("Participants") or ():
        participants.setdefault(player["Id"], player)
    for player in event.get("GroupMembers") or ():
        members.setdefault(player["Id"], player)
    richest = {killer["Id"]: (killer, "killer")}
    richest.setdefault(victim["Id"], (victim, "victim"))
    for player_id, player in participants.items():
        richest.setdefault(player_id, (player, "participant"))
    for player_id, player in members.items():
        richest.setdefault(player_id, (player, "group"))
    for player_id in sorted(richest):
        player, role = richest[player_id]
        rows.append(player_row(event["EventId"], player, role, participants.get(player_id), members.get(player_id)))


def player_row(event_id, player, role, participant, member):
    power, fame = player.get("AverageItemPower"), player.get("KillFame")
    if role == "group" and power == 0:
        power = None
    if role == "participant" and member:
        fame = member.get("KillFame")
    row = [
        "europe",
        event_id,
        player["Id"],
        role,
        member is not None,
        text(player.get("Name")),
        text(player.get("GuildId")),
        text(player.get("GuildName")),
        text(player.get("AllianceId")),
        text(player.get("AllianceName")),
        power,
        fame,
        player.get("DeathFame"),
        participant and participant.get("DamageDone"),
        participant and participant.get("SupportHealingDone"),
    ]
    equipment = player.get("Equipment") or {}
    for slot in SLOTS.values():
        item = equipment.get(slot)
        if item:
            row += (text(item.get("Type")), item.get("Quality"))
        else:
            row += (None, None)
    for slot, field in (("Potion", "Count"), ("Food", "Count"), ("MainHand", "LegendarySoul")):
        item = equipment.get(slot)
        row.append(item and item.get(field))
    row[-1] = document(row[-1])
    return row


def loot_rows(event, rows):
    for slot, item in enumerate(event["Victim"].get("Inventory") or ()):
        if item is not None:
            rows.append(
                (
                    "europe",
                    event["EventId"],
                    slot,
                    text(item.get("Type")),
                    item.get("Quality"),
                    item.get("Count"),
                    document(item.get("LegendarySoul")),
                )
            )


def load(url, dump, begin, end):
    left = lines(dump, begin, end)
    with psycopg.connect(url) as connection:
        while batch := list(itertools.islice(left, BATCH)):
            rows = {table: [] for table in TABLES}
            for line in batch:
                event = orjson.loads(line)
                rows["kill_event"].append(event_row(event))
                player_rows(event, rows["kill_player"])
                loot_rows(event, rows["kill_loot"])
            for table, columns in TABLES.items():
                with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                    for row in rows[table]:
                        copy.write_row(row)
            connection.commit()


def main():
    url, dump = sys.argv[1:]
    processes = [multiprocessing.Process(target=load, args=(url, dump, *part)) for part in parts(dump, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process failed")


if __name__ == "__main__":
    main()
