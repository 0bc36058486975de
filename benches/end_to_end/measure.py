"""Runs a command and appends the measurements to a file: measure.py FILE NAME ROUND EVENTS COMMAND...

A line is a JSON object with the wall time, the CPU time of the command and its children, and the peak memory of the
largest of these processes, at least the 13 MiB of this script. The database server is not included. EVENTS is the number
of events that the command reads. The command's standard output is discarded.
"""

import json
import os
import sys
import time


def main():
    results, name, number, events, *command = sys.argv[1:]
    begun = time.monotonic()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"{name}: the command exited with code {code}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss, in bytes
    result = {
        "name": name,
        "round": int(number),
        "events": int(events),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit,
    }
    with open(results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


main()
