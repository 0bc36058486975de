"""Draws the results of a scripts/bench run as SVG: plot.py DIRECTORY

The left part compares events per second, the right part shows the loader's time over the size of the dump. The background is
transparent, and the colours follow the colour scheme of the reader's page.
"""

import sys
from html import escape

from stats import Run

NAMES = {
    "ours-empty": "aegis-kills, empty tables",
    "baseline-empty": "ready-made rows, empty tables",
    "ours": "aegis-kills",
    "baseline": "ready-made rows",
    "duckdb": "DuckDB",
    "psycopg": "psycopg 3 + orjson, 2 processes",
    "psycopg-single": "psycopg 3 + orjson, 1 process",
    "psql-jsonb": "psql + jsonb",
    "prisma": "Prisma, layout aegis",
    "row-by-row": "row by row, layout aegis",
}
SIZES = ("size-tenth", "size-half", "ours", "size-tenfold")

WIDTH, HEIGHT = 960, 360
TOP, BOTTOM = 56, 310
BARS = (236, 560)  # from left to right
CURVE = (670, 910)

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.soft { fill: #57606a }
.end { text-anchor: end } .middle { text-anchor: middle }
.bar { fill: #8c959f } .ours { fill: #1f6feb }
.axis { stroke: #d0d7de } .line { stroke: #1f6feb; stroke-width: 2; fill: none }
.even { stroke: #8c959f; stroke-dasharray: 4 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .soft { fill: #8b949e } .bar { fill: #6e7681 } .ours { fill: #58a6ff }
  .axis { stroke: #3d444d } .line { stroke: #58a6ff } .even { stroke: #6e7681 }
}"""


def text(x, y, content, style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(content)}</text>'


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def bars(run):
    names = [name for name in NAMES if name in run.rounds]
    if not names:
        return
    left, right = BARS
    most = max(map(run.speed, names))
    step = (BOTTOM - TOP) / len(names)
    yield text(16, 26, "Events per second, whole load", "title")
    for place, name in enumerate(names):
        y, speed = TOP + place * step, run.speed(name)
        width = max((right - left) * speed / most, 1)
        kind = "ours" if name.startswith("ours") else "bar"
        yield text(left - 8, y + step / 2 + 1, NAMES[name], "end")
        yield f'<rect x="{left}" y="{y + 2:.1f}" width="{width:.1f}" height="{step - 8:.1f}" rx="2" class="{kind}"/>'
        yield text(left + width + 6, y + step / 2 + 1, f"{speed:,.0f}", "soft")


def curve(run):
    points = [(run.events(name), run.median(name)) for name in SIZES if name in run.rounds]
    if len(points) < 2:
        return
    left, right = CURVE
    most_events, most_seconds = points[-1][0], max(seconds for _, seconds in points)

    def at(events, seconds):
        return left + (right - left) * events / most_events, BOTTOM - (BOTTOM - TOP) * seconds / most_seconds

    yield text(left - 40, 26, "Seconds over events in the dump", "title")
    for share in (0, 0.5, 1):
        x, y = at(most_events * share, most_seconds * share)
        yield line(left, y, right, y, "axis")
        yield text(left - 8, y + 4, f"{most_seconds * share:.2g} s" if share else "0", "soft end")
        yield text(x, BOTTOM + 20, f"{most_events * share:,.0f}", "soft middle")
    # A straight line through the largest dump shows how linear the time is.
    yield line(*at(0, 0), *at(*points[-1]), "even")
    places = [at(*point) for point in points]
    yield f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" class="line"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="ours"/>'


def main():
    run = Run(sys.argv[1])
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">')
    print("<title>Speed of whole loads</title>")
    print(f"<style>\n{STYLE}\n</style>")
    for part in (*bars(run), *curve(run)):
        print(part)
    print(text(16, HEIGHT - 10, f"{run.facts['Processor']}; PostgreSQL {run.facts['PostgreSQL'].split()[0]}", "soft"))
    print("</svg>")


main()
