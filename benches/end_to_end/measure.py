"""Runs a command and adds a line to a file of results: measure.py FILE NAME ROUND COMMAND...

The line is a JSON object: wall seconds from start to end, CPU seconds of the command and all that it waited for, and
the peak memory of the largest of these processes, which is never less than that of this script, about 13 MiB. The
database is none of them.
"""

import json
import os
import sys
import time


def main():
    results, name, turn, *command = sys.argv[1:]
    begun = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"{name}: the command ended with code {code}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    result = {
        "name": name,
        "round": int(turn),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit,
    }
    with open(results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


main()
