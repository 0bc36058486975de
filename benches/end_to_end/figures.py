"""What the report and the plot share: the results of a run of scripts/bench, read from its directory."""

import json
import os
import statistics


class Run:
    """A directory with the files names, facts, disk and results, as scripts/bench leaves them."""

    def __init__(self, directory):
        self.does = dict(line.split(" ", 1) for line in read(directory, "names"))
        self.facts = dict(line.split("\t", 1) for line in read(directory, "facts"))
        self.disk = {name: list(map(int, numbers)) for name, *numbers in map(str.split, read(directory, "disk"))}
        self.rounds = {}
        for line in read(directory, "results"):
            result = json.loads(line)
            self.rounds.setdefault(result["name"], []).append(result)

    def events(self, name):
        """How many events a load is given."""
        events = int(self.facts["events"])
        return {
            "row-by-row": int(self.facts["small"]),
            "size-tenth": events // 10,
            "size-half": events // 2,
            "size-tenfold": events * 10,
        }.get(name, events)

    def all(self, name, key="seconds"):
        """The figure of every round."""
        return [result[key] for result in self.rounds[name]]

    def median(self, name, key="seconds"):
        return statistics.median(self.all(name, key))

    def speeds(self, name):
        """The events a second of every round, in order of size."""
        return sorted(self.events(name) / seconds for seconds in self.all(name))

    def speed(self, name):
        return self.events(name) / self.median(name)

    def ratio(self, name, other):
        """The median of what an event of `name` takes over what one of `other` takes, round by round."""
        if name not in self.rounds or other not in self.rounds:
            return None
        scale = self.events(other) / self.events(name)
        pairs = zip(self.all(name), self.all(other))
        return statistics.median(one / two * scale for one, two in pairs)


def read(directory, name):
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return file.read().splitlines()
