"""The loss of a whole run as a chart: smallest, mean and largest of each piece, epochs, validations, and where it jumps."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.finding import Boundary, Diagnosis
from tb_losslens.analysis.text import number, plural, signed
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.html.markup import Markup, tag
from tb_losslens.html.scale import Floats, Scale, scale_of
from tb_losslens.html.shapes import WIDTH, WORDS, band, chart, line, mark, percent, placed, stretched, y_axis
from tb_losslens.store.downsample import BucketStats, bucket_starts, bucket_stats, spread, strongest
from tb_losslens.store.run import Run

_HEIGHT = 190.0
_TOP = 22.0
"""Room for the marks above the curve."""
_LANE = 34.0
_TOLD = frozenset({"restore", "config_change", "lr_change", "note"})
_MOST_EVENTS = 40


def timeline(run: Run, diagnosis: Diagnosis, *, points: int = 420) -> Markup | None:
    """The chart with its legend, in at most `points` pieces; None for a run without a single loss."""
    n = len(run)
    if not n:
        return None
    starts = bucket_starts(0, n, points)
    stats = bucket_stats(run.loss, starts, n)
    if not np.isfinite(stats.mean).any():
        return None
    held = np.array([v.value for v in run.validations], dtype=np.float64)
    scale = _scale(stats, held)
    centre = (starts + np.append(starts[1:], n)) / 2 / n * WIDTH
    lr = _lr(run, starts, centre)
    height = _TOP + _HEIGHT + 20 + (_LANE if lr else 0)
    body = [
        tag("svg", y_axis(scale), y=_TOP, width="100%", height=_HEIGHT, overflow="visible"),
        *_epochs(run, n),
        tag("svg", *_curve(run, stats, centre, scale), y=_TOP, width="100%", height=_HEIGHT, overflow="visible"),
        *_validations(run, scale, n),
        *_bad(run, starts, n),
        *_marks(run, diagnosis, n),
        *_events(run, n),
    ]
    if lr:
        body.append(tag("text", "LR", class_="tick", x=-8, y=_TOP + _HEIGHT + 42, text_anchor="end"))
        body.append(tag("svg", lr, y=_TOP + _HEIGHT + 24, width="100%", height=_LANE - 8))
    name = f"Loss of {plural(n, 'batch')}, {diagnosis.headline}"
    return tag("figure", chart(body, height=height, name=name, class_="timeline"), _legend(run, diagnosis, stats, scale))


def sparkline(run: Run, *, points: int = 80, height: float = 26.0) -> Markup | None:
    """The mean loss alone, small enough for a table; None where there is none."""
    starts = bucket_starts(0, len(run), points)
    stats = bucket_stats(run.loss, starts, len(run))
    if not np.isfinite(stats.mean).any():
        return None
    scale = scale_of(stats.mean, height - 4)
    x = np.linspace(0, WIDTH, len(starts)) if len(starts) > 1 else np.array([WIDTH / 2])
    known = np.isfinite(stats.mean)
    path = tag("path", class_="mean", d=line(x[known], scale.at(stats.mean[known]) + 2))
    return tag("div", stretched(path, height=height), class_="spark", aria_hidden="true")


def _scale(stats: BucketStats, held: Floats) -> Scale:
    """The scale of the loss; validations take part as far as they do not press the curve flat."""
    inside = np.array([np.nanmin(stats.low), np.nanmax(stats.high)])
    room = 2 * (inside[1] - inside[0]) if np.isfinite(inside[1] - inside[0]) else 0.0
    near = held[np.isfinite(held) & (held <= inside[1] + room) & (held >= inside[0] - room)]
    with np.errstate(over="ignore"):
        return scale_of(stats.mean, _HEIGHT, low=np.append(stats.low, near), high=np.append(stats.high, near))


def _curve(run: Run, stats: BucketStats, x: Floats, scale: Scale) -> list[Markup]:
    known = np.isfinite(stats.mean)
    if unlogged(run).any():  # the curve goes on between the batches whose loss was logged
        x, stats = x[known], BucketStats(*(column[known] for column in stats))
    edges = tag("path", class_="band", d=band(x, scale.at(stats.high), scale.at(stats.low)))
    mean = tag("path", class_="mean", d=line(x, scale.at(stats.mean)))
    return [stretched(edges, mean, height=_HEIGHT)]


def _epochs(run: Run, n: int, *, shaded: int = 60, named: int = 16) -> list[Markup]:
    """Every other epoch shaded where they are few, and the numbers of some below."""
    out = []
    bottom = _TOP + _HEIGHT
    if len(run.epochs) <= shaded:
        for epoch in run.epochs[1::2]:
            x, width = 100 * epoch.first / n, 100 * len(epoch) / n
            out.append(tag("rect", class_="shade", x=percent(x), width=percent(width), y=_TOP, height=_HEIGHT))
    every = max(1, -(-len(run.epochs) // named))
    for place, epoch in enumerate(run.epochs[::every]):
        x = 50 * (epoch.first + epoch.last) / n
        text = f"epoch {epoch.epoch}" if place == 0 and len(epoch) / n > 0.06 else f"{epoch.epoch}"
        wide_only = "tick wide" if place % 2 else "tick"
        out.append(tag("text", text, class_=wide_only, x=percent(x), y=bottom + 16, text_anchor="middle"))
    return out


def _validations(run: Run, scale: Scale, n: int, *, most: int = 160) -> list[Markup]:
    out = []
    for at in spread(len(run.validations), most).tolist():
        one = run.validations[at]
        if math.isfinite(one.value):
            title = tag("title", f"validation at step {one.step:,}: {number(one.value)}")
            y = _TOP + float(scale.at(one.value))
            out.append(tag("circle", title, class_="validation", cx=percent(100 * one.batch / n), cy=y, r=3))
    return out


def _bad(run: Run, starts: np.ndarray, n: int, *, most: int = 60) -> list[Markup]:
    """Ticks at the top where the loss is not a finite number, apart from batches of which nobody logged it."""
    bad = ~np.isfinite(run.loss) & ~unlogged(run)
    if not bad.any():
        return []
    rows = np.flatnonzero(bad)
    bucket = np.unique(np.searchsorted(starts, rows, side="right") - 1)
    x = 100 * starts[bucket[spread(len(bucket), most)]] / n
    return [tag("line", class_="bad", x1=percent(p), x2=percent(p), y1=_TOP, y2=_TOP + 9) for p in x.tolist()]


def _marks(run: Run, diagnosis: Diagnosis, n: int, *, room: float = 1.6, most: int = 60) -> list[Markup]:
    """The boundaries that jump, the strongest first where they stand close, and findings that act at no boundary."""
    wanted: list[tuple[float, float, str, float, str]] = []
    jumping = [b for b in diagnosis.boundaries if b.kind != "none"]
    size = np.array([b.z for b in jumping], dtype=np.float64)
    for at in strongest(size, 4 * most).tolist():
        b = jumping[at]
        far = abs(b.z) if math.isfinite(b.z) else 0.0
        wanted.append((far, 100 * b.batch / n, b.kind, 9 + 5 * math.sqrt(min(20.0, far) / 20), boundary_name(b)))
    for finding in diagnosis.findings:
        if finding.boundaries or not finding.steps:
            continue
        rows = np.flatnonzero(run.step == finding.steps[0])
        if len(rows):
            title = f"{finding.title}, step {finding.steps[0]:,}: {WORDS[finding.kind]}"
            wanted.append((1e6, 100 * int(rows[0]) / n, finding.kind, 13.0, title))
    out: list[Markup] = []
    taken: list[float] = []
    for _, x, kind, side, title in sorted(wanted, key=lambda w: -w[0]):
        if len(taken) < most and all(abs(x - other) >= room for other in taken):
            taken.append(x)
            out.append(tag("line", class_=f"cut k-{kind}", x1=percent(x), x2=percent(x), y1=_TOP - 4, y2=_TOP + _HEIGHT))
            out.append(placed(kind, x, _TOP - 12, side, title))
    return out


def boundary_name(boundary: Boundary) -> str:
    """One boundary in a line: its number, where it is, its jump."""
    head = f"Boundary {boundary.index + 1}, epoch {boundary.epoch}, step {boundary.step:,}"
    if not math.isfinite(boundary.jump):
        return head
    noise = f", {number(abs(boundary.z), 2)} times the noise" if math.isfinite(boundary.z) else ""
    return f"{head}: {signed(boundary.jump)}{noise}, {WORDS.get(boundary.kind, boundary.kind)}"


def _events(run: Run, n: int) -> list[Markup]:
    """Small squares below the curve for what happened between two batches: restores, changes, notes."""
    told = [event for event in run.events if event.kind in _TOLD]
    out = []
    for at in spread(len(told), _MOST_EVENTS).tolist():
        event = told[at]
        x, y = percent(100 * min(event.batch, n) / n), _TOP + _HEIGHT - 3
        title = tag("title", f"{event.kind.replace('_', ' ')} at step {event.step:,}: {event.text[:200]}")
        out.append(tag("svg", tag("rect", title, class_="event", x=-3, y=-3, width=6, height=6), x=x, y=y, overflow="visible"))
    return out


def _lr(run: Run, starts: np.ndarray, x: Floats) -> list[Markup]:
    """The learning rate as a line of its own, where it is known and changes."""
    if not run.has("lr"):
        return []
    lr = run.float("lr")
    known = lr[np.isfinite(lr)]
    if known.min() == known.max():
        return []
    stats = bucket_stats(lr, starts, len(run))
    scale = scale_of(known, _LANE - 12)
    path = tag("path", class_="lr", d=line(x, scale.at(stats.mean) + 2))
    return [stretched(path, height=_LANE - 8)]


def _legend(run: Run, diagnosis: Diagnosis, stats: BucketStats, scale: Scale) -> Markup:
    items: list[Markup] = []
    if (stats.high > stats.low).any():
        items.append(
            tag("span", _swatch(tag("rect", class_="band", y=2, width=16, height=8)), "smallest to largest loss of a batch")
        )
        items.append(tag("span", _swatch(tag("path", class_="mean", d="M0 6H16")), "mean"))
    else:
        items.append(tag("span", _swatch(tag("path", class_="mean", d="M0 6H16")), "loss of each batch"))
    if run.validations:
        items.append(tag("span", _swatch(tag("circle", class_="validation", cx=8, cy=6, r=3)), "validation"))
    kinds = dict.fromkeys(b.kind for b in diagnosis.boundaries if b.kind != "none")
    kinds.update(dict.fromkeys(f.kind for f in diagnosis.findings if f.steps and not f.boundaries))
    items += [tag("span", mark(kind, 11), WORDS[kind]) for kind in kinds]
    if (~np.isfinite(run.loss) & ~unlogged(run)).any():
        items.append(tag("span", _swatch(tag("path", class_="bad", d="M8 1V11")), "loss not finite"))
    if any(event.kind in _TOLD for event in run.events):
        items.append(tag("span", _swatch(tag("rect", class_="event", x=5, y=3, width=6, height=6)), "restore, change or note"))
    lr = run.float("lr")
    known = lr[np.isfinite(lr)]
    if len(known):
        low, high = float(known.min()), float(known.max())
        items.append(tag("span", f"LR {number(low)}" if low == high else f"LR {number(low)} to {number(high)}"))
    if scale.log:
        items.append(tag("span", "logarithmic axis"))
    if scale.cut:
        items.append(tag("span", f"axis cut, the largest loss is {number(float(np.nanmax(stats.high)))}"))
    return tag("figcaption", items, class_="legend")


def _swatch(drawn: Markup) -> Markup:
    return tag("svg", drawn, width=16, height=12, aria_hidden="true")
