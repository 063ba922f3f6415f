"""Draws the pictures of docs/performance.md: docs/quality.svg of quality.jsonl, docs/growth.svg of growth.jsonl. Needs nothing but Python.

    python3 testdata/figures/plot.py        prints the exponents that it fitted
"""
import json
import math
import os
from html import escape

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "..", "..", "docs")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 64, 190, 30, 50
COLOURS = ["#1b6ca8", "#d1495b", "#2e933c", "#8e5ea2", "#e08e1b", "#5b5b5b"]


def rows(name):
    with open(os.path.join(HERE, name)) as f: return [json.loads(line) for line in f]


class Plot:
    """One chart: x on a scale of powers, y on such a one or a plain one."""

    def __init__(self, title, x, y, xs, ys, log_y):
        self.out, self.named, self.log_y = [], 0, log_y
        self.x0, self.x1 = math.log10(xs[0]), math.log10(xs[-1])
        self.y0, self.y1 = (math.log10(ys[0]), math.log10(ys[-1])) if log_y else (ys[0], ys[-1])
        self.text(LEFT, 18, title, size=14)
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x, anchor="middle")
        self.text(LEFT, TOP + 2, y)
        for v in xs:
            px, _ = self.at(v, ys[0])
            self.line([(px, TOP + 8), (px, HEIGHT - BOTTOM)], "#dddddd")
            self.text(px, HEIGHT - BOTTOM + 16, f"{v:g}", anchor="middle")
        for v in ys:
            _, py = self.at(xs[0], v)
            self.line([(LEFT, py), (WIDTH - RIGHT, py)], "#dddddd")
            self.text(LEFT - 6, py + 4, f"{v:g}", anchor="end")

    def at(self, x, y):
        y = math.log10(y) if self.log_y else y
        return (LEFT + (math.log10(x) - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (y - self.y0) / (self.y1 - self.y0) * (HEIGHT - BOTTOM - TOP - 8))

    def text(self, x, y, s, size=12, anchor="start", colour="#222222"):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(s)}</text>')

    def line(self, points, colour, dash=""):
        self.out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')

    def series(self, name, points, dash="", mark=True, colour=None):
        colour = COLOURS[(self.named if colour is None else colour) % len(COLOURS)]
        at = [self.at(*p) for p in sorted(points)]
        self.line(at, colour, dash)
        if mark: self.out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at]
        self.named += 1
        self.text(WIDTH - RIGHT + 12, TOP + 18 * self.named, name, colour=colour)

    def write(self, name):
        body = "\n".join(self.out)
        with open(os.path.join(DOCS, name), "w") as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
                    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n')


def quality():
    """Share of float's nDCG@10 that is kept, by bytes a token."""
    whole = {"Cranfield": .4314, "SciFact": .7347}
    p = Plot("Quality per byte: nDCG@10 of that of float32 at 384, exact search", "bytes a token, both tiers (a scale of powers)", "share", [10, 20, 50, 100, 200, 500], [.9, .92, .94, .96, .98, 1, 1.02], False)
    exact = [r for r in rows("quality.jsonl") if r["target"] == "exact"]
    way = lambda r, pooled: f'{r["set"]} {r["width"]} {"2bit, pooled" if pooled else "codecs"}'
    series = {}
    for r in exact:
        of = {r["pool"] > 1} | ({True} if (r["width"], r["codec"]) == (384, "2bit") else set())
        for pooled in of: series.setdefault(way(r, pooled), []).append((r["bytes"], r["ndcg"] / whole[r["set"]]))
    names = sorted({n.split(" ", 1)[1] for n in series})
    for name in sorted(series, key=lambda n: (n.split(" ", 1)[1], n)):
        p.series(name, series[name], "5 3" if name.startswith("Cranfield") else "", colour=names.index(name.split(" ", 1)[1]))
    p.write("quality.svg")


def fitted(points):
    """The exponent of a power, by least squares of logarithms."""
    x, y = [math.log(a) for a, _ in points], [math.log(b) for _, b in points]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    e = sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)
    return e, math.exp(my - e * mx)


def growth():
    """Processor time of a search for 10 hits, by tokens."""
    p = Plot("Growth: one search for 10 hits, one core, int8 x 128; at the right: fitted exponents", "million tokens (a scale of powers)", "processor ms", [1, 2, 5, 10, 20, 50], [.2, .5, 1, 2, 5, 10], True)
    series = {}
    for r in rows("growth.jsonl"):
        series.setdefault(r["name"], {}).setdefault(r["tokens"] / 1e6, []).append(r["cpu_ms"])
    for name, at in series.items():
        points = [(x, min(v)) for x, v in sorted(at.items())]  # of rounds: other work on a machine comes and goes
        e, _ = fitted(points)
        print(f"{name}: exponent {e:.2f} over {len(points)} sizes, {', '.join(f'{x:.3g} M {y:.2f} ms' for x, y in points)}")
        p.series(f"{name}: {e:.2f}", points)
    p.series("proportional to tokens", [(1, .3), (30, 9)], "4 4", False)
    p.write("growth.svg")


if __name__ == "__main__":
    quality()
    growth()
