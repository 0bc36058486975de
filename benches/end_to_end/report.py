"""Writes the report of a run of scripts/bench, as Markdown: report.py DIRECTORY"""

import sys

from figures import Run

MACHINE = ("Processor", "Memory", "System", "PostgreSQL", "Loader", "Compiler", "Peers")
SIDE_BY_SIDE = ("ours", "floor", "psql-jsonb", "psycopg", "psycopg-single", "duckdb")
BACKFILL = ("ours-empty", "floor-empty")
AEGIS = ("ours-aegis", "floor-aegis", "row-by-row", "prisma", "prisma-batches")
SCENARIOS = ("gzip", "zstd", "half-stored", "second-run", "size-tenth", "size-half", "size-tenfold")

HOW = """\
PostgreSQL runs at initdb's own settings on a Unix socket, on the same machine. Each load is of the same generated dump into a
database of its own, after a checkpoint, with its input in memory. All take their turn in each round; the figures are medians of
the rounds, and a ratio is the median of the rounds' ratios. The time is that of the whole command, from its start to its end.
Before measuring, the rows that each load writes (but those of dumps of other sizes) were found to be the same as the loader's: their
number, and a hash of all columns but the time of loading, with numbers in documents compared as double precision, as Python,
JavaScript and DuckDB keep no more of them.
The tables have all keys and indexes of `aegis-kills schema apply`, and hold 1,000 older events, unless they are said to be empty.
The dump holds no event twice, so that plain COPY does for peers which would need more with duplicates. The loader also keeps its
ledger, which no peer has. CPU time is that of the client alone."""


def main():
    run = Run(sys.argv[1])
    events, megabytes = int(run.facts["events"]), int(run.facts["bytes"]) / 1e6
    print(f"# Whole loads: {events:,} events, {megabytes:,.0f} MB, {run.facts['rounds']} rounds\n")
    table(("", ""), [(name, run.facts[name]) for name in MACHINE])
    print(f"{HOW}\n")
    for title, names, ours, floor in (
        ("Side by side, layout `archive`", SIDE_BY_SIDE, "ours", "floor"),
        ("Initial backfill: empty tables, layout `archive`", BACKFILL, "ours-empty", "floor-empty"),
        ("Layout `aegis`", AEGIS, "ours-aegis", "floor-aegis"),
        ("The loader in other circumstances, layout `archive`", SCENARIOS, "ours", "floor"),
    ):
        side_by_side(run, title, names, ours, floor)
    targets(run)
    disk(run)
    print("## What each does\n")
    for name in run.does:
        if name in run.rounds:
            print(f"- **{name}** ({run.events(name):,} events): {run.does[name]}.")


def table(head, rows):
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def side_by_side(run, title, names, ours, floor):
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
                times(run.ratio(name, floor)),
                f"{run.median(name, 'cpu_seconds'):.2f}",
                f"{run.median(name, 'peak_bytes') / 2**20:,.0f}",
            )
        )
    print(f"## {title}\n")
    ratios = (f"time an event / {ours}", f"time an event / {floor}")
    table(("", "seconds", "events/s", "from–to", *ratios, "CPU s", "peak MiB a process"), rows)


def times(ratio):
    return "" if ratio is None else f"{ratio:.2f}"


def targets(run):
    """Each is a figure with the least or the most that it may be; figures that were not measured are left out."""
    rows = []

    def most(what, figure, bound, unit=""):
        if figure is not None:
            rows.append((what, f"{figure:.2f}{unit}", f"≤ {bound}{unit}", yes(figure <= bound)))

    def least(what, figure, bound, unit=""):
        if figure is not None:
            rows.append((what, f"{figure:.2f}{unit}", f"≥ {bound}{unit}", yes(figure >= bound)))

    most("time over the floor's", run.ratio("ours", "floor"), 1.15)
    most("time over the floor's, layout `aegis`", run.ratio("ours-aegis", "floor-aegis"), 1.15)
    most("initial backfill: time over the floor's", run.ratio("ours-empty", "floor-empty"), 0.85)
    least("times DuckDB's speed", run.ratio("duckdb", "ours"), 2)
    least("times the speed of psycopg with orjson, two processes", run.ratio("psycopg", "ours"), 4)
    least("times the speed of psycopg with orjson, one process", run.ratio("psycopg-single", "ours"), 4)
    least("times the speed of Prisma, layout `aegis`", run.ratio("prisma", "ours-aegis"), 20)
    least("times the speed of row by row, layout `aegis`", run.ratio("row-by-row", "ours-aegis"), 20)
    for packer in ("gzip", "zstd"):
        least(f"{packer}: speed over that of plain input", run.ratio("ours", packer), 0.9)
    most("half of the events stored: time over none stored", run.ratio("half-stored", "ours"), 1.0)
    if "second-run" in run.rounds:
        least("second run", int(run.facts["bytes"]) / run.median("second-run") / 1e9, 1, " GB/s")
    ours = [name for name in run.rounds if name.startswith(("ours", "size-")) or name in SCENARIOS]
    if ours:
        most("peak memory", max(max(run.all(name, "peak_bytes")) for name in ours) / 2**20, 128, " MiB")
    smaller = [name for name in ("size-tenth", "size-half") if name in run.rounds]
    larger = "size-tenfold" if "size-tenfold" in run.rounds else "ours"
    for name in smaller:
        # Linear: an event of the largest dump takes no longer than one of a smaller.
        most(f"time an event over that in {name}", run.ratio(larger, name), 1.1)
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
            figures = (tables / events, indexes / events, (tables + indexes) / events)
            rows.append((what, *(f"{figure:,.0f}" for figure in figures)))
    print("## Bytes on disk a stored event\n")
    table(("", "tables", "keys and indexes", "together"), rows)


main()
