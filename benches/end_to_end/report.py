"""Writes the report of a scripts/bench run as Markdown: report.py DIRECTORY"""

import sys

from stats import Run

MACHINE = ("Processor", "Memory", "System", "PostgreSQL", "Loader", "Compiler", "Peers")
SIDE_BY_SIDE = ("ours", "baseline", "psql-jsonb", "psycopg", "psycopg-single", "duckdb")
BACKFILL = ("ours-empty", "baseline-empty")
AEGIS = ("ours-aegis", "baseline-aegis", "row-by-row", "prisma", "prisma-batches")
SCENARIOS = ("gzip", "zstd", "half-stored", "second-run", "size-tenth", "size-half", "size-tenfold")

HOW = """\
PostgreSQL runs with the settings of initdb on a Unix socket of the same machine. Each load reads the same generated dump from memory
into a database of its own, after a checkpoint. Every round runs all loads. Times are medians of the rounds, and a ratio is the median
of the rounds' ratios. A time is that of the whole command, from start to end.
Before the measurements, the rows of each load (except for dumps of other sizes) were compared with the loader's rows: their number,
and a hash of all columns except the load time. Numbers in documents were compared as double precision, because Python, JavaScript
and DuckDB keep no more digits.
The tables have all keys and indexes of `aegis-kills schema apply` and contain 1,000 older events, unless they are described as empty.
The dump contains no duplicates, so that peers can use plain COPY. With duplicates, they would need more work. Only the loader keeps
a ledger. CPU time is that of the client alone."""


def main():
    run = Run(sys.argv[1])
    events, megabytes = int(run.facts["events"]), int(run.facts["bytes"]) / 1e6
    print(f"# Whole loads: {events:,} events, {megabytes:,.0f} MB, {run.facts['rounds']} rounds\n")
    table(("", ""), [(name, run.facts[name]) for name in MACHINE])
    print(f"{HOW}\n")
    for title, names, ours, baseline in (
        ("Side by side, layout `archive`", SIDE_BY_SIDE, "ours", "baseline"),
        ("Initial backfill: empty tables, layout `archive`", BACKFILL, "ours-empty", "baseline-empty"),
        ("Layout `aegis`", AEGIS, "ours-aegis", "baseline-aegis"),
        ("The loader in other circumstances, layout `archive`", SCENARIOS, "ours", "baseline"),
    ):
        side_by_side(run, title, names, ours, baseline)
    targets(run)
    disk(run)
    print("## Loads\n")
    for name in run.descriptions:
        if name in run.rounds:
            print(f"- **{name}** ({run.events(name):,} events): {run.descriptions[name]}.")


def table(head, rows):
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    print()


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
                f"{run.median(name, 'peak_bytes') / 2**20:,.0f}",
            )
        )
    print(f"## {title}\n")
    ratios = (f"time per event / {ours}", f"time per event / {baseline}")
    table(("", "seconds", "events/s", "from–to", *ratios, "CPU s", "peak MiB per process"), rows)


def times(ratio):
    return "" if ratio is None else f"{ratio:.2f}"


def targets(run):
    """Prints the measured values with their lower or upper bounds. Values that were not measured are omitted."""
    rows = []

    def at_most(what, value, bound, unit=""):
        if value is not None:
            rows.append((what, f"{value:.2f}{unit}", f"≤ {bound}{unit}", yes(value <= bound)))

    def at_least(what, value, bound, unit=""):
        if value is not None:
            rows.append((what, f"{value:.2f}{unit}", f"≥ {bound}{unit}", yes(value >= bound)))

    at_most("time over the baseline's", run.ratio("ours", "baseline"), 1.15)
    at_most("time over the baseline's, layout `aegis`", run.ratio("ours-aegis", "baseline-aegis"), 1.15)
    at_most("initial backfill: time over the baseline's", run.ratio("ours-empty", "baseline-empty"), 0.85)
    at_least("times DuckDB's speed", run.ratio("duckdb", "ours"), 2)
    at_least("times the speed of psycopg with orjson, two processes", run.ratio("psycopg", "ours"), 4)
    at_least("times the speed of psycopg with orjson, one process", run.ratio("psycopg-single", "ours"), 4)
    at_least("times the speed of Prisma, layout `aegis`", run.ratio("prisma", "ours-aegis"), 20)
    at_least("times the speed of row by row, layout `aegis`", run.ratio("row-by-row", "ours-aegis"), 20)
    for compressor in ("gzip", "zstd"):
        at_least(f"{compressor}: speed over that of plain input", run.ratio("ours", compressor), 0.9)
    at_most("half of the events stored: time over none stored", run.ratio("half-stored", "ours"), 1.0)
    if "second-run" in run.rounds:
        at_least("second run", int(run.facts["bytes"]) / run.median("second-run") / 1e9, 1, " GB/s")
    ours = [name for name in run.rounds if name.startswith(("ours", "size-")) or name in SCENARIOS]
    if ours:
        at_most("peak memory", max(max(run.all(name, "peak_bytes")) for name in ours) / 2**20, 128, " MiB")
    smaller = [name for name in ("size-tenth", "size-half") if name in run.rounds]
    larger = "size-tenfold" if "size-tenfold" in run.rounds else "ours"
    for name in smaller:
        # Linear: the time per event in the largest dump is not longer than in a smaller one.
        at_most(f"time per event over that in {name}", run.ratio(larger, name), 1.1)
    if rows:
        print("## Targets\n")
        table(("", "measured", "target", "met"), rows)


def yes(met):
    return "yes" if met else "**no**"


def disk(run):
    rows = []
    for name, what in (
        ("archive-empty", "`archive`, initial backfill"),
        ("ours", "`archive`, appended"),
        ("aegis-empty", "`aegis`, initial backfill"),
        ("ours-aegis", "`aegis`, appended"),
    ):
        if name in run.disk:
            events, tables, indexes = run.disk[name]
            values = (tables / events, indexes / events, (tables + indexes) / events)
            rows.append((what, *(f"{value:,.0f}" for value in values)))
    print("## Bytes on disk per stored event\n")
    table(("", "tables", "keys and indexes", "together"), rows)


main()
