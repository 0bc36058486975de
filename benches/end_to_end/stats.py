"""Reads the results of a scripts/bench run from its directory, for the report and the plot."""

import json
import os
import statistics


class Run:
    """A directory with the files names, facts, disk and results of scripts/bench."""

    def __init__(self, directory):
        self.descriptions = dict(line.split(" ", 1) for line in read(directory, "names"))
        self.facts = dict(line.split("\t", 1) for line in read(directory, "facts"))
        self.disk = {name: list(map(int, numbers)) for name, *numbers in map(str.split, read(directory, "disk"))}
        self.rounds = {}
        for line in read(directory, "results"):
            result = json.loads(line)
            self.rounds.setdefault(result["name"], []).append(result)

    def events(self, name):
        """The number of events in the input of a load."""
        events = int(self.facts["events"])
        return {
            "row-by-row": int(self.facts["small"]),
            "size-tenth": events // 10,
            "size-half": events // 2,
            "size-tenfold": events * 10,
        }.get(name, events)

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
