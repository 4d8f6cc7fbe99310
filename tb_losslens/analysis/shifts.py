"""Rises of the level of the loss inside an epoch that last: no event marks their place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.boundaries import window_sizes
from tb_losslens.analysis.change_points import change_points, refined
from tb_losslens.analysis.cuts import Cut, measure_rows
from tb_losslens.analysis.lasting import against_cuts
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.stats import Floats, median, moving_mean, noise, robust_sigma
from tb_losslens.store.run import Run

_MOST_BLOCKS = 20_000
"""Rows that the search sees: of a longer run means of neighbours, and the place is found again among the rows."""

_LEAST = 8
_AROUND = 10
"""Windows on either side of a place within which it is judged."""

_BESIDE = 2
"""Rows from a boundary of epochs in which a rise is that of the boundary."""


@dataclass(frozen=True)
class Shift:
    """A rise of the level.

    Attributes:
        row: its first row.
        m: rows of the window that shows it.
        before, after: means of the m rows on either side.
        z: distance of the change from that at cuts around, in their standard deviations.
        back: rows until three quarters of it are gone; None if that is never.
    """

    row: int
    m: int
    before: float
    after: float
    z: float
    back: int | None

    @property
    def jump(self) -> float:
        """By how much the level rises."""
        return self.after - self.before


@once_a_run
def shifts(run: Run) -> tuple[Shift, ...]:
    """All of a run, in order; what lies beside a boundary of epochs is not among them, since that is measured there.

    A rise that lasts (`_lasting`) or one that is steep, however soon the loss comes back (`_steep`).
    """
    loss = _known(run.loss)
    if len(loss) < 16 * _LEAST:
        return ()
    # the rows on both sides of missing ones are no neighbours
    begins = sorted({one for one in (*(e.first for e in run.epochs), *(gap.row for gap in run.gaps)) if one < len(loss)})
    epoch = int(median(np.diff(np.array(begins)))) if len(begins) > 1 else len(loss) // 8
    found = {shift.row: shift for shift in (*_steep(loss, begins, epoch), *_lasting(loss, begins, epoch))}
    out: list[Shift] = []
    for row in sorted(found):
        if not out or row - out[-1].row > max(out[-1].m, found[row].m):
            out.append(found[row])
        elif found[row].z > out[-1].z:
            out[-1] = found[row]
    return tuple(out)


def _known(loss: Floats, *, lasting: int = 5, most: float = 0.05) -> Floats:
    """The loss up to where it is not finite for `lasting` rows; a single such row has the value before it.

    Empty where more than `most` of the rows are such.
    """
    bad = ~np.isfinite(loss)
    if not bad.any():
        return loss
    run_of = np.convolve(bad, np.ones(lasting), "valid") >= lasting
    end = int(np.argmax(run_of)) if run_of.any() else len(loss)
    known = ~bad[:end]
    if not known.any() or known.mean() < 1 - most:
        return loss[:0]
    last = np.maximum.accumulate(np.where(known, np.arange(end), -1))
    return loss[np.where(last >= 0, last, int(np.argmax(known)))]


def quiet_inside(run: Run) -> str:
    """That the loss of a run, recorded batch by batch, never rises beyond what cuts around show; "" if it is too short."""
    long = len(run) >= 16 * _LEAST and run.has("loss") and bool(np.isfinite(run.loss).all())
    constant = long and bool((run.loss == run.loss[0]).all())  # of which that is said
    return "" if run.plain or not long or constant or shifts(run) else "The loss never rises beyond what cuts around show"


def _steep(loss: Floats, begins: list[int], epoch: int, *, candidate: float = 5.0, most: int = 20) -> list[Shift]:
    """Rises within a few batches: measured as a boundary is, with the cuts of the same epoch as placebos.

    Args:
        loss: finite, shape (n,).
        begins: first rows of the epochs.
        epoch: usual rows of one.
        candidate: robust standard deviations of the contrast over the whole run from which on a row is asked.
        most: rows that are asked, those with the largest rise.
    """
    sizes = window_sizes(epoch)
    if not sizes:
        return []
    m, n = sizes[0], len(loss)
    used = np.log(loss) if (loss > 0).all() else loss
    block, rise = _rises(used, m)
    limit = candidate * robust_sigma(rise)
    if not limit > 0:
        return []
    rows: list[int] = []
    high = np.flatnonzero(rise > limit)
    for place in high[np.argsort(-rise[high])][: most * 8 * m].tolist():
        if len(rows) >= most:
            break
        row = _steepest(used, m + block * place, m, block)
        if min((abs(row - other) for other in rows), default=m + 1) > m:
            rows.append(row)
    rows = sorted(row for row in rows if min((abs(row - begin) for begin in begins), default=n) > _BESIDE)
    out = []
    for row in rows:
        cut = _measured(loss, row, reach=max(60, epoch), others=[*begins, *rows])
        before, after = loss[row - m : row], loss[row : row + m]
        typical = median(after) - median(before)  # of one high batch the median knows nothing
        up = cut.clear and min(cut.jump, cut.excess) > 0 and typical > 0.5 * cut.jump
        if up and not _is_habit(used, row, m):
            level = float(before.mean())
            out.append(Shift(row, m, level, float(after.mean()), cut.z, back_after(loss, row, m, level)))
    return out


def _measured(loss: Floats, row: int, *, reach: int, others: list[int]) -> Cut:
    """`measure_rows` of one row, on the part of the loss that it looks at."""
    first = max(0, row - reach - 1)
    near = [other - first for other in others if first < other <= row + reach and other != row]
    return measure_rows(loss[first : row + reach + 1], [row - first], reach=reach, others=near)[0]


def _lasting(
    loss: Floats,
    begins: list[int],
    epoch: int,
    *,
    penalty: float = 3.0,
    clear_z: tuple[float, float] = (6.0, 4.0),
    part: float = 0.5,
) -> list[Shift]:
    """Rises that stay. Binary segmentation offers the places.

    Two windows, one half of the other and both no longer than the level stays or an epoch is, must agree that the change is
    not what cuts around show: more than `clear_z` of their standard deviations, and more than each of them. Shorter ones are
    tried as well, since a curve that falls by itself hides the change from long ones.

    Args:
        loss: finite, shape (n,).
        begins: first rows of the epochs.
        epoch: usual rows of one.
        penalty: of a change point, in variances of the noise times the logarithm of the rows.
        clear_z: as above, of the two windows.
        part: of the noise from batch to batch that the rise must reach.
    """
    n = len(loss)
    used = np.log(loss) if (loss > 0).all() else loss
    places = _places(used, penalty)
    out = []
    for k, row in enumerate(places):
        stays = min(row - (places[k - 1] if k else 0), (places[k + 1] if k + 1 < len(places) else n) - row)
        wide = min(stays, max(epoch, 2 * _LEAST), n // 12)
        if wide < _LEAST + 2 or min((abs(row - begin) for begin in begins), default=n) <= _BESIDE:
            continue
        ladder = [wide]
        while ladder[-1] // 2 >= _LEAST:
            ladder.append(ladder[-1] // 2)
        tried = (_judged(used, loss, row, sizes=(size, size // 2), clear_z=clear_z, part=part) for size in ladder)
        found = next((one for one in tried if one is not None), None)
        if found is not None:
            out.append(found)
    return out


def _judged(
    used: Floats, loss: Floats, row: int, *, sizes: tuple[int, int], clear_z: tuple[float, float], part: float
) -> Shift | None:
    scores = []
    sigma = noise(used[max(0, row - 2 * sizes[0]) : row + 2 * sizes[0]])
    if row < sizes[0] or row + sizes[0] > len(used):
        return None
    for size, limit in zip(sizes, clear_z, strict=True):
        rise = float(used[row : row + size].mean() - used[row - size : row].mean())
        white = sigma * math.sqrt(2 / size)
        if not rise > max(part * sigma, limit * white):
            return None
        first = max(0, row - _AROUND * size)
        z, clear = against_cuts(
            moving_mean(used[first : row + _AROUND * size], size), row - first, size, white=white, clear_z=limit
        )
        if not (clear and z > 0):
            return None
        scores.append(z)
    if any(_is_habit(used, row, size) for size in sizes):
        return None
    m = sizes[1]
    before, after = (float(side.mean()) for side in (loss[row - m : row], loss[row : row + m]))
    return Shift(row, m, before, after, min(scores), back_after(loss, row, m, before)) if after > before else None


def _rises(used: Floats, m: int) -> tuple[int, Floats]:
    """(rows from one place to the next, mean of m rows after less mean of m rows before, at rows m, m + block, ...).

    Neighbouring places share nearly all of their windows where these are long: then every eighth of a window is enough.
    """
    block = max(1, m // 8)
    many = len(used) // block
    means = moving_mean(used[: many * block].reshape(many, block).mean(axis=1), m // block)
    size = m // block
    return block, means[size:] - means[:-size]


def _steepest(used: Floats, row: int, m: int, block: int) -> int:
    """The row within a block of `row` at which the rise is largest."""
    if block == 1:
        return row
    first = max(0, row - block - m)
    means = moving_mean(used[first : row + block + m], m)
    return first + m + int(np.argmax(means[m:] - means[:-m]))


def _is_habit(used: Floats, row: int, size: int, *, part: float = 0.5, most: int = 2) -> bool:
    """True if more than `most` other places of the run have a rise of `part` of this one: then it is how this curve goes."""
    rise = float(used[row : row + size].mean() - used[row - size : row].mean())
    block, rises = _rises(used, size)
    high = size + block * np.flatnonzero(rises >= part * rise)
    high = high[np.abs(high - row) >= 2 * size]
    places = 1 + int((np.diff(high) > size).sum()) if len(high) else 0
    return places > most


def _places(used: Floats, penalty: float) -> list[int]:
    """Change points of all rows, found among means of neighbours where the rows are many."""
    block = max(1, math.ceil(len(used) / _MOST_BLOCKS))
    many = len(used) // block
    means = used[: many * block].reshape(many, block).mean(axis=1)
    sigma = noise(means)
    if not sigma > 0:
        return []
    cost = penalty * sigma * sigma * math.log(many)
    points = refined(means, change_points(means, penalty=cost, least=_LEAST), least=_LEAST)
    if block == 1:
        return points
    out = []
    for point in points:
        first, end = max(0, (point - _LEAST) * block), min(len(used), (point + _LEAST) * block)
        out += [first + row for row in change_points(used[first:end], penalty=0.0, least=_LEAST, most=1)]
    return out


def back_after(loss: Floats, row: int, m: int, before: float, *, left: float = 0.25) -> int | None:
    """Rows from the rise at `row` until all but `left` of it above the level `before` is gone; None if that is never."""
    means = moving_mean(loss[row:], max(5, m // 4))
    if not len(means) or not np.isfinite(means).any():
        return None
    top = int(np.nanargmax(means[: max(1, m)]))
    low = np.flatnonzero(means[top:] <= before + left * (float(means[top]) - before))
    return top + int(low[0]) if len(low) else None
