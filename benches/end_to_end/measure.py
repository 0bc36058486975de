"""Runs a command and appends the measurements to a file: measure.py FILE NAME ROUND COMMAND...

A line is a JSON object with the wall time, the CPU time of the command and its children, and the peak memory of the
largest of these processes, at least the 13 MiB of this script. The database server is not included.
"""

import json
import os
import sys
import time


def main():
    results, name, number, *command = sys.argv[1:]
    begun = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        sys.exit(f"{name}: the command exited with code {code}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss, in bytes
    result = {
        "name": name,
        "round": int(number),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * unit,
    }
    with open(results, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


main()
