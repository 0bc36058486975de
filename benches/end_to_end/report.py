"""Writes the report of a scripts/bench run as Markdown: report.py DIRECTORY"""

import sys

from stats import Run

MACHINE = ("Processor", "Memory", "System", "PostgreSQL", "Loader", "Compiler", "Peers")
ARCHIVE = ("ours", "baseline", "duckdb-extension", "duckdb", "psycopg", "psycopg-single", "psql-jsonb")
BACKFILL = ("ours-empty", "baseline-empty")
AEGIS = ("ours-aegis", "baseline-aegis", "row-by-row", "prisma", "prisma-batches")
OTHERS = ("gzip", "zstd", "half-stored", "second-run", "unchanged", "verify", "verify-ids")
SEASON = 40e9  # bytes of JSON, for the times of a large backfill

HOW = """\
PostgreSQL runs with the settings of initdb on a Unix socket of the same machine. Each load reads the same dump from memory into a
database of its own, after a checkpoint. Every round runs all loads. Times are medians of the rounds, and a ratio is the median of the
rounds' ratios. A time is that of the whole command, from start to end.
Before the measurements, the rows of each load (except for dumps of other sizes and loads with latency) were compared with the loader's
rows: their number, and a hash of all columns except the load time. Numbers in documents were compared as double precision, because
Python, JavaScript and DuckDB keep no more digits.
The tables have all keys and indexes of `aegis-kills schema apply` and contain 1,000 older events, unless they are described as empty.
The dump contains no duplicates, so that peers can use plain COPY. With duplicates, they would need more work. Only the loader keeps
a ledger. CPU time and memory are those of the client alone."""

BASELINE = """\
The baseline is PostgreSQL alone: two `psql` sessions `COPY` the same rows, ready-made in binary files. Nothing is read as JSON, parsed
or checked, and no ledger is kept. Its time is that of PostgreSQL itself on these cores. It keeps all indexes also in empty tables, where
the loader builds them at the end."""


def main():
    run = Run(sys.argv[1])
    events, megabytes = int(run.facts["events"]), int(run.facts["bytes"]) / 1e6
    rounds = int(run.facts["rounds"])
    print(f"# Whole loads: {events:,} events, {megabytes:,.0f} MB, {rounds} round{'' if rounds == 1 else 's'}\n")
    table(("", ""), [(name, run.facts[name]) for name in MACHINE])
    print(f"{HOW}\n\n{BASELINE}\n")
    throughput(run)
    side_by_side(run, "Side by side, layout `archive`", ARCHIVE, "ours", "baseline")
    side_by_side(run, "Initial backfill: empty tables, layout `archive`", BACKFILL, "ours-empty", "baseline-empty")
    side_by_side(run, "Layout `aegis`", AEGIS, "ours-aegis", "baseline-aegis")
    real(run)
    side_by_side(run, "Other inputs and commands, layout `archive`", OTHERS, "ours", "baseline")
    sizes(run)
    latency(run)
    versions(run)
    targets(run)
    disk(run)
    print("## Loads\n")
    for name, description in run.descriptions.items():
        if name in run.rounds:
            print(f"- **{name}** ({run.events(name):,} events): {description}.")


def table(head, rows):
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def throughput(run):
    """Prints the loads that store the whole dump in units of whole dumps."""
    rows = []
    for layout, prefix, names in (
        ("`archive`", "", ARCHIVE),
        ("`archive`, empty tables", "", BACKFILL),
        ("`archive`, real events", "real-", ARCHIVE),
        ("`aegis`", "", AEGIS),
    ):
        size = run.bytes_per_event(prefix)
        for name in by_speed(run, [prefix + name for name in names]):
            per_second = run.speed(name) * size
            stored = run.disk.get(name)
            rows.append(
                (
                    layout,
                    name,
                    f"{run.speed(name):,.0f}",
                    f"{per_second * 3600 / 1e9:,.0f}",
                    duration(SEASON / per_second),
                    f"{run.median(name, 'wal_bytes') / run.events(name):,.0f}",
                    f"{sum(stored[1:]) / stored[0]:,.0f}" if stored else "",
                )
            )
    if not rows:
        return
    print("## Throughput and storage\n")
    print(
        "GB per hour are those of the dump's JSON. The time for 40 GB is calculated from the speed of this dump: see the sizes below for "
        "that of larger ones.\nBytes stored include keys, indexes and the ledger. They are the same for all methods, "
        "except for the ledger, which only the loader has.\n"
    )
    head = ("layout", "", "events/s", "GB per hour", "time for 40 GB", "WAL bytes per event", "bytes stored per event")
    table(head, rows)


def by_speed(run, names):
    return sorted((name for name in names if name in run.rounds), key=run.speed, reverse=True)


def duration(seconds):
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{seconds / 60:.1f} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def side_by_side(run, title, names, ours, baseline):
    names = [name for name in names if name in run.rounds]
    if not names:
        return
    rows = []
    for name in names:
        speeds = run.speeds(name)
        rows.append(
            (
                name,
                f"{run.median(name):.2f}",
                f"{run.speed(name):,.0f}",
                f"{speeds[0]:,.0f}–{speeds[-1]:,.0f}",
                times(run.ratio(name, ours)),
                times(run.ratio(name, baseline)),
                f"{run.median(name, 'cpu_seconds'):.2f}",
                f"{max(run.all(name, 'peak_bytes')) / 2**20:,.0f}",
            )
        )
    print(f"## {title}\n")
    ratios = (f"time per event / {ours}", f"time per event / {baseline}")
    table(("", "seconds", "events/s", "from–to", *ratios, "CPU s", "peak MiB per process"), rows)


def times(ratio):
    return "" if ratio is None else f"{ratio:.2f}"


def real(run):
    names = [f"real-{name}" for name in ARCHIVE]
    side_by_side(run, "Real events, layout `archive`", names, "real-ours", "real-baseline")
    if "real events" in run.facts:
        print(
            f"{int(run.facts['real events']):,} distinct events of the game's API, repeated with other ids and on other days up to "
            f"{int(run.facts['events']):,} events, {int(run.facts['real bytes']) / 1e6:,.0f} MB.\n"
        )


def sizes(run):
    rows = []
    for events in run.sizes():
        for suffix, tables in (("", "with events"), ("-empty", "empty")):
            ours, baseline = (f"size-{events}-{name}{suffix}" for name in ("ours", "baseline"))
            rows.append(
                (
                    f"{events:,}",
                    tables,
                    f"{run.median(ours):,.2f}",
                    f"{run.median(baseline):,.2f}",
                    times(run.ratio(ours, baseline)),
                    f"{run.speed(ours):,.0f}",
                    f"{run.median(ours, 'wal_bytes') / events:,.0f}",
                    f"{max(run.all(ours, 'peak_bytes')) / 2**20:,.0f}",
                    str(len(run.rounds[ours])),
                )
            )
    if rows:
        print("## Dump sizes, layout `archive`\n")
        head = ("events", "tables", "seconds", "baseline's seconds", "time over the baseline's", "events/s")
        table((*head, "WAL bytes per event", "peak MiB", "rounds"), rows)


def latency(run):
    if not run.labels("latency-"):
        return
    rows = []
    for part, events in (("fifty", 50), ("all", int(run.facts["events"]))):
        for way, encryption in (("plain", "no"), ("tls", "yes")):
            cells = [
                f"{run.median(name):.2f}"
                for name in run.labels("latency-")
                if name.endswith(f"-{way}-{part}-ours")
            ]
            if cells:
                rows.append((f"{events:,}", encryption, *cells))
    added = dict.fromkeys(name.split("-")[1] for name in run.labels("latency-"))
    print("## Seconds with network latency\n")
    print(
        "A program on the same machine delays all bytes, half of the time in each direction, and ends the TLS connections. It needs "
        "processor time of its own, so\ncompare the columns with that of 0 ms, and not with the tables above.\n"
    )
    table(("events", "TLS", *(f"{milliseconds} ms added per round trip" for milliseconds in added)), rows)


def versions(run):
    majors = [name.split()[1] for name in run.facts if name.startswith("version ")]
    rows = []
    for prefix, version in [("", run.facts["PostgreSQL"].split()[0])] + [
        (f"version-{major}-", run.facts[f"version {major}"].split()[0]) for major in majors
    ]:
        for suffix, tables in (("", "with events"), ("-empty", "empty")):
            ours, baseline = (f"{prefix}{name}{suffix}" for name in ("ours", "baseline"))
            if ours in run.rounds and baseline in run.rounds:
                speeds = (f"{run.speed(ours):,.0f}", f"{run.speed(baseline):,.0f}")
                wal = f"{run.median(ours, 'wal_bytes') / run.events(ours):,.0f}"
                rows.append((version, tables, *speeds, times(run.ratio(ours, baseline)), wal))
    if majors:
        print("## Versions of PostgreSQL, layout `archive`\n")
        head = ("version", "tables", "events/s", "baseline's events/s", "time over the baseline's")
        table((*head, "WAL bytes per event"), rows)


def targets(run):
    """Prints the measured values with their lower or upper bounds. Values that were not measured are omitted."""
    rows = []

    def at_most(what, value, bound, unit=""):
        if value is not None:
            rows.append((what, f"{value:.2f}{unit}", f"≤ {bound}{unit}", yes(value <= bound)))

    def at_least(what, value, bound, unit=""):
        if value is not None:
            rows.append((what, f"{value:.2f}{unit}", f"≥ {bound}{unit}", yes(value >= bound)))

    at_most("time over the baseline's", run.ratio("ours", "baseline"), 1.30)
    at_most("real events: time over the baseline's", run.ratio("real-ours", "real-baseline"), 1.30)
    at_most("time over the baseline's, layout `aegis`", run.ratio("ours-aegis", "baseline-aegis"), 1.30)
    at_most("initial backfill: time over the baseline's", run.ratio("ours-empty", "baseline-empty"), 1.00)
    at_least("times DuckDB's speed", run.ratio("duckdb", "ours"), 2)
    at_least("times the speed of DuckDB with its PostgreSQL extension", run.ratio("duckdb-extension", "ours"), 2)
    at_least("times the speed of psycopg with orjson, two processes", run.ratio("psycopg", "ours"), 4)
    at_least("times the speed of psycopg with orjson, one process", run.ratio("psycopg-single", "ours"), 4)
    at_least("times the speed of Prisma, layout `aegis`", run.ratio("prisma", "ours-aegis"), 20)
    at_least("times the speed of row by row, layout `aegis`", run.ratio("row-by-row", "ours-aegis"), 20)
    for compressor in ("gzip", "zstd"):
        at_least(f"{compressor}: speed over that of plain input", run.ratio("ours", compressor), 0.9)
    at_most("half of the events stored: time over none stored", run.ratio("half-stored", "ours"), 1.0)
    if "second-run" in run.rounds:
        at_least("second run", int(run.facts["bytes"]) / run.median("second-run") / 1e9, 1, " GB/s")
    ours = [name for name in run.rounds if "ours" in name.split("-") or name in OTHERS]
    if ours:
        at_most("peak memory", max(max(run.all(name, "peak_bytes")) for name in ours) / 2**20, 128, " MiB")
    *smaller, largest = [f"size-{events}-ours" for events in run.sizes()] or [None]
    for name in smaller:
        # Linear: the time per event in the largest dump is not longer than in a smaller one.
        what = f"time per event of {run.events(largest):,} events over that of {run.events(name):,}"
        at_most(what, run.ratio(largest, name), 1.1)
    if rows:
        print("## Targets\n")
        table(("", "measured", "target", "met"), rows)


def yes(met):
    return "yes" if met else "**no**"


def disk(run):
    rows = []
    for name, what in (
        ("ours-empty", "`archive`, initial backfill"),
        ("ours", "`archive`, appended"),
        ("real-ours", "`archive`, real events"),
        ("ours-aegis", "`aegis`, appended"),
    ):
        if name in run.disk:
            events, *parts = run.disk[name]
            rows.append((what, *(f"{value / events:,.0f}" for value in (*parts, sum(parts)))))
    if rows:
        print("## Bytes on disk per stored event\n")
        table(("", "tables", "keys and indexes", "ledger", "together"), rows)


main()
