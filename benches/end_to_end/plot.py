"""Draws the results of a scripts/bench run as SVG: plot.py DIRECTORY

One column, so that the text is readable on a phone: events per second as bars, sorted, for each layout, and over the size
of the dump on a logarithmic scale. The colours follow the reader's colour scheme. The picture has a background of its own,
because a page can have another scheme than the browser.
"""

import math
import sys
import textwrap
from html import escape

from stats import Run

ARCHIVE = ("ours", "baseline", "duckdb-extension", "duckdb", "psycopg", "psycopg-single", "psql-jsonb")
PANELS = (
    ("Layout archive, generated events", "", ARCHIVE),
    ("Layout archive, empty tables", "", ("ours-empty", "baseline-empty")),
    ("Layout archive, real events", "real-", ARCHIVE),
    ("Layout aegis, generated events", "", ("ours-aegis", "baseline-aegis", "row-by-row", "prisma", "prisma-batches")),
)
NAMES = {
    "ours": "aegis-kills",
    "baseline": "baseline: ready-made rows",
    "duckdb": "DuckDB and psql",
    "duckdb-extension": "DuckDB with its PostgreSQL extension",
    "psycopg": "psycopg 3 and orjson, 2 processes",
    "psycopg-single": "psycopg 3 and orjson, 1 process",
    "psql-jsonb": "psql and jsonb",
    "prisma": "Prisma, upsert",
    "prisma-batches": "Prisma, createMany of 1,000",
    "row-by-row": "the upserts of Prisma without Prisma",
}
# Each line of the last panel: the loads, its name, and its styles.
LINES = (
    ("ours", "aegis-kills, tables with events", "ours"),
    ("ours-empty", "aegis-kills, empty tables", "ours dashed"),
    ("baseline", "baseline, tables with events", "base"),
    ("baseline-empty", "baseline, empty tables", "base dashed"),
)
BASELINE = (
    "Baseline: PostgreSQL alone. psql COPYs the same rows, ready-made in binary files. Nothing is parsed or checked, and no "
    "ledger is kept. So it shows the part of PostgreSQL in the time of each load."
)

# The text has 12 of 360 pixels on a phone, and 16 of 480 elsewhere.
WIDTH, MARGIN, TEXT, STEP = 480, 16, 16, 22
CHARACTERS = 54  # per line

STYLE = """\
text { font: 16px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 20px }
.head { font-weight: 600 }
.soft { fill: #57606a }
.end { text-anchor: end } .middle { text-anchor: middle }
.page { fill: #ffffff }
.bar { fill: #afb8c1 } .bar.base { fill: #6e7781 } .bar.ours { fill: #1f6feb }
.axis { stroke: #d0d7de }
.line { stroke-width: 3; fill: none } .line.ours { stroke: #1f6feb } .line.base { stroke: #6e7781 }
.line.dashed { stroke-dasharray: 4 5 }
.dot.ours { fill: #1f6feb } .dot.base { fill: #6e7781 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #9198a1 } .page { fill: #0d1117 }
  .bar { fill: #565d66 } .bar.base { fill: #9198a1 } .bar.ours { fill: #4493f8 }
  .axis { stroke: #3d444d } .line.ours { stroke: #4493f8 } .line.base { stroke: #9198a1 }
  .dot.ours { fill: #4493f8 } .dot.base { fill: #9198a1 }
}"""


def text(x, y, content, style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(content)}</text>'


def line(points, style):
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" class="line {style}"/>'


def kind(name):
    """The style of a load: the loader, the baseline or another one."""
    return {"ours": "ours", "baseline": "base"}.get(name.split("-")[0], "")


class Picture:
    """Collects the elements from top to bottom. `y` is the lower edge of the last one."""

    def __init__(self):
        self.parts, self.y = [], 8

    def paragraph(self, content, style):
        for each in textwrap.wrap(content, CHARACTERS):
            self.y += STEP
            self.parts.append(text(MARGIN, self.y, each, style))

    def bars(self, run, title, prefix, names, most):
        """A panel with the fastest load first. All panels have the same scale, on which `most` is the whole width."""
        names = [name for name in names if prefix + name in run.rounds]
        names.sort(key=lambda name: run.speed(prefix + name), reverse=True)
        if not names:
            return
        self.y += 14
        self.paragraph(title, "head")
        for name in names:
            speed = run.speed(prefix + name)
            width = max((WIDTH - 2 * MARGIN) * speed / most, 2)
            label = NAMES.get(name) or NAMES[name.rsplit("-", 1)[0]]
            self.y += STEP + 4
            self.parts.append(text(MARGIN, self.y, label))
            self.parts.append(text(WIDTH - MARGIN, self.y, f"{speed:,.0f}", "end"))
            self.parts.append(
                f'<rect x="{MARGIN}" y="{self.y + 5:.1f}" width="{width:.1f}" height="10" rx="2" class="bar {kind(name)}"/>'
            )
            self.y += 15

    def sizes(self, run):
        """A panel with the speed over the number of events in the dump."""
        sizes = run.sizes()
        if len(sizes) < 2:
            return
        most = max(run.speed(name) for name in run.labels("size-"))
        unit = 10 ** math.floor(math.log10(most))
        top = math.ceil(most / unit) * unit
        self.y += 14
        self.paragraph("Events per second by dump size (log scale)", "head")
        left, right, upper, height = MARGIN + 62, WIDTH - MARGIN - 24, self.y + 20, 210

        def at(events, speed):
            share = math.log(events / sizes[0]) / math.log(sizes[-1] / sizes[0])
            return left + (right - left) * share, upper + height * (1 - speed / top)

        for share in (0, 0.5, 1):
            _, y = at(sizes[0], top * share)
            self.parts.append(f'<path d="M{left} {y:.1f}H{right}" class="axis"/>')
            self.parts.append(text(left - 8, y + 5, f"{top * share:,.0f}", "soft end"))
        self.y = upper + height + STEP
        last = None
        for events in sizes:
            x, _ = at(events, 0)
            # Labels that would touch the previous one are omitted.
            if last is None or x - last >= 62:
                self.parts.append(text(x, self.y, short(events), "soft middle"))
                last = x
        for name, label, style in LINES:
            points = [at(events, run.speed(f"size-{events}-{name}")) for events in sizes]
            self.parts.append(line(points, style))
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot {style}"/>' for x, y in points]
            self.y += STEP
            self.parts.append(line([(MARGIN, self.y - 5), (MARGIN + 40, self.y - 5)], style))
            self.parts.append(text(MARGIN + 52, self.y, label))


def short(events):
    """2,000 as 2k, and 1,000,000 as 1M."""
    return f"{events / 1e6:g}M" if events >= 1e6 else f"{events / 1e3:g}k"


def main():
    run = Run(sys.argv[1])
    picture = Picture()
    picture.paragraph("Events per second, whole load", "title")
    kilobytes = run.bytes_per_event() / 1000
    picture.paragraph(
        f"{int(run.facts['events']):,} events of {kilobytes:.0f} KB of JSON. {run.facts['Processor']}, shared with PostgreSQL "
        f"{run.facts['PostgreSQL'].split()[0]}.",
        "soft",
    )
    picture.paragraph(BASELINE, "soft")
    shown = [prefix + name for _, prefix, names in PANELS for name in names if prefix + name in run.rounds]
    most = max(map(run.speed, shown), default=1)
    for title, prefix, names in PANELS:
        picture.bars(run, title, prefix, names, most)
    picture.sizes(run)
    height = picture.y + 2 * MARGIN
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    print(f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">')
    print("<title>Events per second of whole loads</title>")
    print(f"<style>\n{STYLE}\n</style>")
    print(f'<rect width="{WIDTH}" height="{height}" rx="8" class="page"/>')
    print("\n".join(picture.parts))
    print("</svg>")


main()
