"""How much the loss moves at each epoch boundary, against the same contrast at cuts that are no boundary.

For every boundary, `J` is the mean of m batches after it less the mean of m batches before it. Its placebos are the
same contrast at cuts inside the two epochs that meet there, at least 2m away from it. They share the local trend and
the local noise, so `z = (J - median P) / scale P` needs no model of the curve. Placebos from the whole run would not
do: the steep start fills their tails. A change of level that a few batches do not show, but that stays, is measured over a
quarter of an epoch instead (lasting.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts, Rows, find_cuts, part_of_epoch, refusal, window_sizes
from tb_losslens.analysis.contrast import Contrast, at, contrasts, take
from tb_losslens.analysis.finding import Boundary, Pooled
from tb_losslens.analysis.lasting import lasting_levels, over_more
from tb_losslens.analysis.pool import pool, same_orders
from tb_losslens.analysis.shape import pattern, recovery, shapes, strays
from tb_losslens.analysis.stats import Floats, moving_mean
from tb_losslens.analysis.unlogged import logged_rarely
from tb_losslens.analysis.unmeasured import short_epochs, with_reasons
from tb_losslens.store.run import Run

Flags = NDArray[np.bool_]

MANY = 1000
"""Boundaries up to which one limit is that of all."""


def measure(run: Run) -> tuple[tuple[Boundary, ...], Pooled]:
    """Every boundary of a run, and all of them together.

    Boundaries are returned also where there is no verdict; their numbers are NaN where too few batches lie around.
    Runs in O(n) array operations: a million batches in a thousand epochs take a fraction of a second.
    """
    cuts = find_cuts(run)
    reason = refusal(run, cuts)
    loss = run.loss
    sizes = window_sizes(cuts.length, part=part_of_epoch(run))
    if not sizes or len(cuts) == 0:
        return with_reasons(run, cuts, _unmeasured(run, cuts, loss), reason), Pooled(reason=reason)
    log_scale = _is_log(loss, cuts)
    linear = contrasts(loss, cuts, sizes)
    used = linear
    if log_scale.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.where(loss > 0, np.log(loss), np.nan)
        used = [_merge(log_scale, log, line) for log, line in zip(contrasts(logs, cuts, sizes), linear, strict=True)]
    z = np.stack([c.z for c in used])  # (sizes, boundaries)
    significant = _alone(z, [c.tail for c in used]) & (reason == "")
    significant &= ~strays(loss, cuts, sizes[0], excess=linear[0].jump - linear[0].centre, significant=significant)
    levels = {} if reason else {k: one for k, one in lasting_levels(loss, cuts).items() if not significant[k]}
    significant[list(levels)] = True
    pooled = pool(used, linear[0].jump, significant, reason, same=same_orders(run))
    if not reason and not pooled.total:
        pooled = replace(pooled, reason=logged_rarely(run) or pooled.reason)
    boundaries = _boundaries(
        run, cuts, dict(zip(sizes, z, strict=True)), used[0], linear[0], log_scale=log_scale, significant=significant
    )
    boundaries = tuple(over_more(b, levels[b.index], loss, cuts) if b.index in levels else b for b in boundaries)
    return with_reasons(run, cuts, _in_common(boundaries, pooled), reason), pooled


def _in_common(boundaries: tuple[Boundary, ...], pooled: Pooled) -> tuple[Boundary, ...]:
    """Boundaries that only all together are more than noise get the shape of the pattern that they form."""
    jump, before, after = np.array([(b.jump, b.before, b.after) for b in boundaries], dtype=np.float64).T
    shape = pattern(jump, before, after, pooled.direction)
    with_it = [b.shape in ("none", "step_down") and (b.jump - b.placebo_median) * pooled.direction > 0 for b in boundaries]
    return tuple(replace(b, shape=shape) if yes else b for b, yes in zip(boundaries, with_it, strict=True))


def _is_log(loss: Floats, cuts: Cuts, *, fold: float = 2.0) -> Flags:
    """Where the level changes more than `fold` within the two epochs and every loss is positive."""
    quarter = max(1, cuts.length // 4)
    means = moving_mean(loss, quarter)
    corners = (cuts.first, cuts.last - quarter, cuts.start, cuts.end - quarter)
    levels = np.stack([at(means, corner) for corner in corners], axis=1)
    bad = np.concatenate([[0], np.cumsum(loss <= 0)])
    positive = (bad[cuts.last] == bad[cuts.first]) & (bad[cuts.end] == bad[cuts.start])
    known = np.isfinite(levels)
    top = np.where(known, levels, -np.inf).max(axis=1)
    bottom = np.where(known, levels, np.inf).min(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        out: Flags = positive & (known.sum(axis=1) > 1) & (bottom > 0) & (top > fold * bottom)
    return out


def _merge(choose: Flags, first: Contrast, second: Contrast) -> Contrast:
    """`first` where `choose`, else `second`; their z have no unit, so both kinds can stand side by side."""

    def pick(a: Floats, b: Floats) -> Floats:
        return np.where(choose, a, b)

    tails = [t for t in (first.tail, second.tail) if math.isfinite(t)]
    return Contrast(
        pick(first.jump, second.jump),
        pick(first.centre, second.centre),
        pick(first.scale, second.scale),
        pick(first.low, second.low),
        pick(first.high, second.high),
        np.where(choose, first.count, second.count),
        max(tails, default=math.nan) if not choose.all() else first.tail,
    )


def _alone(z: Floats, tails: list[float], *, limit: float = 6.0) -> Flags:
    """Boundaries that are significant by themselves: beyond `limit` and beyond this run's own tail at two sizes.

    Over more boundaries than `MANY` the limit grows so that chance passes it no more often in the whole run: a scale from few
    placebos gives healthy z the tail of Student's t with about 15 degrees of freedom, beyond 6 once in 30,000 boundaries.
    """
    limit *= max(1.0, z.shape[-1] / MANY) ** (1 / 15)
    limits = np.array([max(limit, tail) if math.isfinite(tail) else limit for tail in tails])[:, None]
    up, down = (z > limits).sum(axis=0), (z < -limits).sum(axis=0)
    needed = min(2, len(tails))
    out: Flags = (up >= needed) | (down >= needed)
    return out


def _boundaries(
    run: Run,
    cuts: Cuts,
    z_by_m: dict[int, Floats],
    used: Contrast,
    linear: Contrast,
    *,
    log_scale: Flags,
    significant: Flags,
) -> tuple[Boundary, ...]:
    loss, m = run.loss, next(iter(z_by_m))
    means = moving_mean(loss, m)
    before = take(means, cuts.last - m, cuts.first, cuts.last)
    after = take(means, cuts.start, cuts.start, cuts.end, m=m)
    with np.errstate(over="ignore", invalid="ignore"):  # a band on log loss is a factor on the level before

        def band(value: Floats, plain: Floats) -> Floats:
            return np.where(log_scale, before * np.expm1(np.minimum(value, 700)), plain)

        low, high = band(used.low, linear.low), band(used.high, linear.high)
        middle = band(used.centre, linear.centre)
    steps = run.step[cuts.start]
    excess = linear.jump - linear.centre
    names = shapes(loss, cuts, m, jump=linear.jump, centre=linear.centre, significant=significant)
    back = {
        k: recovery(loss[cuts.start[k] : cuts.end[k]], m, float(excess[k]))
        for k, name in enumerate(names)
        if name == "transient"
    }
    z = z_by_m[m]
    by_m = np.stack(list(z_by_m.values()), axis=1).tolist()
    return tuple(
        Boundary(
            index=k,
            batch=int(cuts.start[k]),
            step=int(steps[k]),
            epoch=int(cuts.epoch[k]),
            m=m,
            before=float(before[k]),
            after=float(after[k]),
            jump=float(linear.jump[k]),
            z=float(z[k]),
            z_by_m=dict(zip(z_by_m, by_m[k], strict=True)),
            significant=bool(significant[k]),
            placebo_low=float(low[k]),
            placebo_high=float(high[k]),
            placebo_median=float(middle[k]),
            placebo_count=int(used.count[k]),
            log_scale=bool(log_scale[k]),
            shape=names[k],
            recovery=back.get(k),
        )
        for k in range(len(cuts))
    )


def _unmeasured(run: Run, cuts: Cuts, loss: Floats) -> tuple[Boundary, ...]:
    """Boundaries with the plain difference of what little lies around them, and no z."""
    m = max(1, cuts.length // 4)
    near, short = np.arange(m), short_epochs(cuts)  # the reason of most, so that no boundary is made twice
    before = _known_mean(loss, cuts.last[:, None] - 1 - near, cuts.first, cuts.last)
    after = _known_mean(loss, cuts.start[:, None] + near, cuts.start, cuts.end)
    none: dict[int, float] = {}
    rows, steps, numbers = cuts.start.tolist(), run.step[cuts.start].tolist(), cuts.epoch.tolist()
    with np.errstate(invalid="ignore", over="ignore"):
        levels = np.stack([before, after, after - before], axis=1).tolist()
    return tuple(
        Boundary(k, row, step, number, m, left, right, jump, math.nan, none, unmeasured=short)
        for k, (row, step, number, (left, right, jump)) in enumerate(zip(rows, steps, numbers, levels, strict=True))
    )


def _known_mean(loss: Floats, rows: Rows, first: Rows, last: Rows) -> Floats:
    """Mean of the finite losses at `rows`, shape (boundaries, m), that lie in `first <= row < last`; NaN for none."""
    values = np.where((rows >= first[:, None]) & (rows < last[:, None]), at(loss, rows), np.nan)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1), dtype=np.float64)
