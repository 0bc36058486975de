"""Reads the results of a scripts/bench run from its directory, for the report and the plot."""

import json
import os
import statistics


class Run:
    """A directory with the files names, facts, disk, wal and results of scripts/bench."""

    def __init__(self, directory):
        self.descriptions = dict(line.split(" ", 1) for line in read(directory, "names"))
        self.facts = dict(line.split("\t", 1) for line in read(directory, "facts"))
        self.disk = {name: list(map(int, numbers)) for name, *numbers in map(str.split, read(directory, "disk"))}
        wal = {(name, int(number)): int(size) for name, number, size in map(str.split, read(directory, "wal"))}
        self.rounds = {}
        for line in read(directory, "results"):
            result = json.loads(line)
            result["wal_bytes"] = wal[result["name"], result["round"]]
            self.rounds.setdefault(result["name"], []).append(result)

    def labels(self, prefix):
        """The names that begin with `prefix`, in the order of the measurement."""
        return [name for name in self.rounds if name.startswith(prefix)]

    def events(self, name):
        """The number of events that a load reads."""
        return self.rounds[name][0]["events"]

    def sizes(self):
        """The numbers of events in the dumps of the group sizes, in ascending order."""
        return sorted({self.events(name) for name in self.labels("size-")})

    def bytes_per_event(self, prefix=""):
        """The mean size of an event in the dump; those of real events have the prefix `real-`."""
        key = "real bytes" if prefix == "real-" else "bytes"
        return int(self.facts.get(key, 0)) / int(self.facts["events"])

    def all(self, name, key="seconds"):
        """The value of every round."""
        return [result[key] for result in self.rounds[name]]

    def median(self, name, key="seconds"):
        return statistics.median(self.all(name, key))

    def speeds(self, name):
        """The events per second of every round, in ascending order."""
        return sorted(self.events(name) / seconds for seconds in self.all(name))

    def speed(self, name):
        return self.events(name) / self.median(name)

    def ratio(self, name, other):
        """The median over all rounds of the time per event of `name`, divided by that of `other`."""
        if name not in self.rounds or other not in self.rounds:
            return None
        scale = self.events(other) / self.events(name)
        pairs = zip(self.all(name), self.all(other))
        return statistics.median(one / two * scale for one, two in pairs)


def read(directory, name):
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return file.read().splitlines()
