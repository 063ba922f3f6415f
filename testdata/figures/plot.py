"""Draws docs/quality.svg from quality.jsonl and docs/growth.svg from growth.jsonl. Python 3 alone: python3 testdata/figures/plot.py"""
import json
import math
import pathlib

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
COLOURS = ["#1b6ca8", "#c8553d", "#3a7d44", "#8a4f9e", "#b8860b", "#555555"]
W, H, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 64, 34, 190, 50


class Chart:
    """One set of axes; x is logarithmic, y is where log says so."""

    def __init__(self, title, x, y, xs, ys, log=False):
        self.log, self.x0, self.x1, self.y0, self.y1 = log, min(xs), max(xs), min(ys), max(ys)
        self.parts = [text(LEFT, 20, title, size=14), text((W - RIGHT + LEFT) / 2, H - 10, x, anchor="middle"),
                      f'<g transform="rotate(-90 14 {H / 2})">{text(14, H / 2, y, anchor="middle")}</g>']
        for v in xs: self.tick(self.px(v), H - BOTTOM, v, down=True)
        for v in ys: self.tick(LEFT, self.py(v), v, down=False)
        self.legend = 0

    def px(self, v): return LEFT + (W - LEFT - RIGHT) * math.log(v / self.x0) / math.log(self.x1 / self.x0)

    def py(self, v):
        share = math.log(v / self.y0) / math.log(self.y1 / self.y0) if self.log else (v - self.y0) / (self.y1 - self.y0)
        return H - BOTTOM - (H - TOP - BOTTOM) * share

    def tick(self, x, y, v, down):
        if down: self.parts += [line(x, TOP, x, y, "#e4e4e4"), text(x, y + 16, f"{v:g}", anchor="middle")]
        else: self.parts += [line(x, y, W - RIGHT, y, "#e4e4e4"), text(x - 6, y + 4, f"{v:g}", anchor="end")]

    def series(self, name, points, dashed=False, marks=True):
        colour = COLOURS[self.legend % len(COLOURS)]
        at = [(self.px(x), self.py(y)) for x, y in sorted(points)]
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6"{dash} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>')
        if marks: self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        y = TOP + 10 + 18 * self.legend
        self.parts += [line(W - RIGHT + 12, y, W - RIGHT + 34, y, colour, 2), text(W - RIGHT + 40, y + 4, name)]
        self.legend += 1

    def save(self, path):
        body = "\n".join(self.parts)
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="11">\n'
                        f'<rect width="{W}" height="{H}" fill="white"/>\n{body}\n</svg>\n')


def text(x, y, s, anchor="start", size=11): return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#222">{s}</text>'


def line(x0, y0, x1, y1, colour, width=1): return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def rows(name): return [json.loads(x) for x in (HERE / name).read_text().splitlines() if x]


def quality():
    told = [r for r in rows("quality.jsonl") if r["target"] == "exact"]
    chart = Chart("nDCG@10, as a share of float at 384 dimensions, by bytes a token on disk", "bytes a token, all tiers", "share of float's nDCG@10",
                  [8, 16, 32, 64, 128, 256, 512], [.88, .9, .92, .94, .96, .98, 1, 1.02])
    whole = {r["set"]: r["ndcg"] for r in told if r["codec"] == "float"}
    for data in whole:
        for width in (384, 256, 128):
            at = [(r["bytes"], r["ndcg"] / whole[data]) for r in told if (r["set"], r["width"], r["pool"]) == (data, width, 1) and r["codec"] != "float"]
            if at: chart.series(f"{data}, {width} wide", at)
        at = [(r["bytes"], r["ndcg"] / whole[data]) for r in told if r["set"] == data and r["width"] == 384 and r["codec"] == "2bit"]
        if len(at) > 1: chart.series(f"{data}, 384, 2bit pooled", at, dashed=True)
    chart.save(DOCS / "quality.svg")


def growth():
    told = rows("growth.jsonl")
    chart = Chart("Processor time of a search by the size of the corpus, recall target .95, k = 10, one thread", "million tokens", "milliseconds",
                  [1, 2, 5, 10, 20, 50], [.1, .2, .5, 1, 2, 5, 10, 20, 50], log=True)
    for name in dict.fromkeys(r["set"] for r in told):
        at = [(r["tokens"] / 1e6, r["cpu_ms"]) for r in told if r["set"] == name]
        chart.series(f"{name} (^{exponent(at):.2f})", at)
    chart.save(DOCS / "growth.svg")


def exponent(at):
    """The slope of the least squares line through the logarithms."""
    x, y = [math.log(a) for a, _ in at], [math.log(b) for _, b in at]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


if __name__ == "__main__":
    quality()
    growth()
