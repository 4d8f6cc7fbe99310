"""The boundaries of a run as a table: levels, jump, the band that noise fills at that place, and the same as a drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.text import number, signed
from tb_losslens.html.markup import Markup, tag
from tb_losslens.html.shapes import WORDS, cause_words, mark, percent
from tb_losslens.store.downsample import strongest

_HEADS = ("", "boundary", "epoch", "step", "before", "after", "jump", "placebo, 95 %", "z")


def boundary_table(boundaries: Sequence[Boundary], *, most: int = 12) -> Markup | None:
    """At most `most` boundaries, the strongest, in their order; None where there are none."""
    if not boundaries:
        return None
    kept = [boundaries[at] for at in strongest(np.array([b.z for b in boundaries], dtype=np.float64), most).tolist()]
    domain = _domain(kept)
    heads = [tag("th", text, class_="number" if text else None, scope="col") for text in _HEADS]
    heads += [
        tag("th", text, scope="col", class_=extra)
        for text, extra in (("jump against its band", "plot"), ("shape", None), ("cause", None))
    ]
    rows = [tag("tr", _cells(boundary, domain)) for boundary in kept]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="boundaries")
    note = None
    if len(kept) < len(boundaries):
        note = tag(
            "p",
            f"The {len(kept)} strongest of {len(boundaries):,} boundaries; `losslens report --format json` has all.",
            class_="note",
        )
    return tag("div", tag("h3", "Epoch boundaries"), tag("div", table, class_="scroll"), note, class_="panel")


def _cells(b: Boundary, domain: tuple[float, float]) -> list[Markup]:
    known = math.isfinite(b.placebo_low) and math.isfinite(b.placebo_high)
    interval = f"{signed(b.placebo_low)} to {signed(b.placebo_high)}" if known else "\u2013"
    texts = [f"{b.index + 1:,}", f"{b.epoch}", f"{b.step:,}"]
    texts += [_or_dash(b.before, number), _or_dash(b.after, number), _or_dash(b.jump, signed), interval, _or_dash(b.z, signed)]
    cells = [tag("td", mark(b.kind, 11, named=True))]
    cells += [
        tag("td", text, class_=f"number k-{b.kind} strong" if place == 5 and b.kind != "none" else "number")
        for place, text in enumerate(texts)
    ]
    quiet = f"not measurable: {b.unmeasured}" if b.unmeasured else "not clear" if b.unclear else "within noise"
    said = (
        cause_words(b.cause)
        if b.kind != "none" and b.cause
        else WORDS[b.kind]
        if b.kind in WORDS and b.kind != "none"
        else quiet
    )
    cells.append(tag("td", _drawn(b, domain), class_="plot"))
    cells.append(tag("td", b.shape.replace("_", " ") if b.shape != "none" else ""))
    cells.append(tag("td", said, class_="quiet" if b.kind == "none" else None))
    return cells


def _off(b: Boundary) -> float:
    """The jump from the middle of its band, in halves of the band: beyond 1 it lies outside; NaN where it has none."""
    half = (b.placebo_high - b.placebo_low) / 2
    if not math.isfinite(b.jump) or not 0 < half < math.inf:
        return math.nan
    return (b.jump - (b.placebo_low + half)) / half


def _domain(boundaries: Sequence[Boundary], *, most: float = 12.0) -> tuple[float, float]:
    """One axis for all rows, in halves of a band, so that every band has the same width and jumps of any size compare."""
    off = [value for value in map(_off, boundaries) if math.isfinite(value)]
    return max(-most, min([-1.2, *off])), min(most, max([1.2, *off]))


def _drawn(b: Boundary, domain: tuple[float, float]) -> Markup | None:
    """The band as a bar, the jump as a dot, or as an arrow at the edge where it lies beyond it."""
    off = _off(b)
    if not math.isfinite(off):
        return None
    low, high = domain

    def at(value: float) -> float:
        return 4 + 92 * (value - low) / (high - low)

    drawn = [tag("rect", class_="placebo", x=percent(at(-1)), width=percent(at(1) - at(-1)), y=3, height=10)]
    if low <= off <= high:
        drawn.append(tag("circle", class_=f"point k-{b.kind}", cx=percent(at(off)), cy=8, r=3.5))
    else:
        head = tag("path", class_=f"point k-{b.kind}", d="M-4 -4L4 0L-4 4Z" if off > high else "M4 -4L-4 0L4 4Z")
        drawn.append(tag("svg", head, x=percent(at(min(max(off, low), high))), y=8, overflow="visible"))
    return tag("svg", drawn, width="100%", height=16, aria_hidden="true", class_="interval")


def _or_dash(value: float, written: Callable[[float], str]) -> str:
    return written(value) if math.isfinite(value) else "\u2013"
