"""Shared by the scripts of the peers: names of slots and columns, and parts of a dump."""

import os

# The column of each slot and its name in the payload, in the order of the table.
SLOTS = {
    "main_hand": "MainHand",
    "off_hand": "OffHand",
    "head": "Head",
    "armor": "Armor",
    "shoes": "Shoes",
    "bag": "Bag",
    "cape": "Cape",
    "mount": "Mount",
    "potion": "Potion",
    "food": "Food",
}

EVENT_COLUMNS = (
    "server event_id occurred_at battle_id fame killer_id victim_id participant_count group_size kill_area "
    "category kind location version gvg_match"
).split()

PLAYER_COLUMNS = (
    "server event_id player_id role in_group name guild_id guild_name alliance_id alliance_name item_power "
    "kill_fame death_fame damage_done healing_done "
    + " ".join(f"{slot} {slot}_quality" for slot in SLOTS)
    + " potion_count food_count main_hand_soul"
).split()

LOOT_COLUMNS = "server event_id slot item quality count soul".split()

TABLES = {"kill_event": EVENT_COLUMNS, "kill_player": PLAYER_COLUMNS, "kill_loot": LOOT_COLUMNS}


def parts(path, count):
    """Splits a dump into `count` parts of whole lines. Returns pairs of start and end, in bytes."""
    size = os.path.getsize(path)
    bounds = [0]
    with open(path, "rb") as dump:
        for part in range(1, count):
            dump.seek(size * part // count)
            dump.readline()
            bounds.append(dump.tell())
    bounds.append(size)
    return list(zip(bounds, bounds[1:]))


def lines(path, begin, end):
    """Yields the lines of a part."""
    with open(path, "rb") as dump:
        dump.seek(begin)
        while begin < end:
            line = dump.readline()
            begin += len(line)
            yield line
