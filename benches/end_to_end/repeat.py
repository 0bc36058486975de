"""Repeats a dump of real events up to a number of events: repeat.py DUMP COUNT FIRST_ID

The dump has one event per line. The result is in standard output. Each event has an id of its own, counted from FIRST_ID,
and each repetition is a day later than the one before. Everything else stays byte for byte. Prints the number of distinct
events to standard error.
"""

import datetime
import re
import sys

# Both keys exist only once in an event, because nested objects have no id of an event and write "Timestamp".
ID = re.compile(rb'("EventId":\s*)\d+')
DAY = re.compile(rb'("TimeStamp":\s*")(\d{4}-\d\d-\d\d)')


def main():
    dump, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(dump, "rb") as file:
        events = [line.strip() for line in file if line.strip()]
    if not events:
        sys.exit(f"error: {dump}: no events")
    for place, event in enumerate(events, 1):
        for key in (ID, DAY):
            if len(key.findall(event)) != 1:
                sys.exit(f"error: {dump}: line {place}: not one event per line in the format of the game's API")
    for each in range(count):
        days, place = divmod(each, len(events))

        def later(match):
            day = datetime.date.fromisoformat(match[2].decode()) + datetime.timedelta(days)
            return match[1] + str(day).encode()

        event = ID.sub(rb"\g<1>%d" % (number + each), events[place])
        sys.stdout.buffer.write(DAY.sub(later, event) + b"\n")
    print(min(count, len(events)), file=sys.stderr)


main()
