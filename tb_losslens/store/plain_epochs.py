"""Which epoch each logged loss of a plain log belongs to, where the log can tell; a row of which it cannot is left without one.

An epoch tag that counts in fractions is rounded in real logs: with two decimals it reads 1.0 up to half of a hundredth of an
epoch before the new epoch begins, and a cut there is in the wrong place. So the length of an epoch is found from all its
values, within what rounding leaves open, and a row for which the readings disagree belongs to no epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

UNKNOWN = -1


@dataclass(frozen=True)
class Labels:
    """The epoch of each row, int64, -1 where it is unknown; None for all of them with `why`, half a sentence."""

    epoch: Ints | None = None
    why: str = ""


def by_length(step: Ints, length: int) -> Labels:
    """Epochs of `length` steps each, counted from step 0.

    A log without a step 0 may count the steps that are done, so that a step of k times `length` ends an epoch, or those before
    it, so that it begins one: it belongs to none.
    """
    epoch = step // length
    if len(step) and step.min() > 0:
        epoch = np.where(step % length == 0, UNKNOWN, epoch)
    return Labels(epoch.astype(np.int64))


def by_tag(step: Ints, tag_step: Ints, tag_value: Floats, *, written: Ints | None = None) -> Labels:
    """Epochs by the points of an epoch tag.

    Args:
        step: of each logged loss, int64, shape (n,), rising or equal.
        tag_step: of each point of the tag, int64, shape (k,).
        tag_value: what it says, float64, shape (k,).
        written: how many losses were written before each point of the tag, int64, shape (k,); None where the order is unknown.
    """
    known = np.isfinite(tag_value)
    tag_step, tag_value = tag_step[known], tag_value[known]
    written = None if written is None else written[known]
    if len(tag_value) < 2 or not len(step):
        return Labels(why="has fewer than two points")
    if (np.diff(tag_value) < -1e-6).any() or (np.diff(tag_step) < 0).any():
        return Labels(why="goes back")
    if np.abs(tag_value - np.round(tag_value)).max() > 1e-4:
        return _by_fractions(step, tag_step, tag_value)
    number = np.round(tag_value).astype(np.int64)
    first = np.flatnonzero(np.concatenate([[True], np.diff(number) > 0]))
    if len(first) > 1 and np.median(np.diff(first)) > 1 and _lasts(tag_step, first):
        return _by_numbers(step, tag_step, number)
    if len(first) < 2 or (tag_step == number).all():
        return Labels(why="does not say at which steps epochs begin" if len(first) > 1 else "names one epoch only")
    if written is None:
        return Labels(why="is written once an epoch, and its place among the losses is unknown")
    return by_marks(written[first], len(step), number=number[first])


def by_marks(written: Ints, rows: int, *, number: Ints | None = None, regular: float | None = None) -> Labels:
    """Epochs by what is written once in each: at its end, where the first mark comes after about an epoch, or at its start.

    The rows after the last mark of an end belong to an epoch that the log does not name.

    Args:
        written: rows that were written before each mark, int64, shape (k,).
        rows: of the run.
        number: the epoch that each mark names; counted from 0 where it names none.
        regular: part of its length by which one epoch may differ from the others; None for any.
    """
    apart = np.diff(written)
    if len(written) < 2 or (apart <= 0).any():
        return Labels(why="is not written among the losses")
    usual = float(np.median(apart))
    if regular is not None and (np.abs(apart - usual) > max(2.0, regular * usual)).any():
        return Labels(why="is not written at equal distances")
    number = np.arange(len(written), dtype=np.int64) if number is None else number
    if written[0] <= max(1.0, 0.05 * usual):
        label = np.concatenate([[UNKNOWN], number])
    elif abs(written[0] - usual) <= max(2.0, 0.1 * usual):
        label = np.concatenate([number, [UNKNOWN]])
    else:
        return Labels(why="may be written at the start or at the end of an epoch")
    return Labels(label[np.searchsorted(written, np.arange(rows), side="right")].astype(np.int64))


def by_restarts(step: Ints) -> Labels:
    """Epochs by a step that begins again in each: it falls back to where it began, two times at least."""
    back = np.flatnonzero(np.diff(step) < 0) + 1
    if len(back) < 2 or (step[back] > step[0] + np.abs(np.diff(step)[: back[0] - 1]).max(initial=1)).any():
        return Labels(why="goes back")
    length = np.diff(np.concatenate([[0], back]))
    if (np.abs(length - np.median(length)) > max(1.0, 0.02 * float(np.median(length)))).any():
        return Labels(why="goes back at unequal distances")
    return Labels(np.searchsorted(back, np.arange(len(step)), side="right").astype(np.int64))


def unclear(epoch: Ints, *, part: float = 0.02, rows: int = 2) -> tuple[NDArray[np.bool_], str]:
    """(rows between two epochs that belong to neither, why they are too many or ""); shape of `epoch`.

    Too many are more than `rows` in a row, and more than `part` of an epoch.
    """
    known = np.flatnonzero(epoch != UNKNOWN)
    inside = np.zeros(len(epoch), dtype=bool)
    if not len(known):
        return inside, "names no epoch of any loss"
    inside[known[0] : known[-1]] = epoch[known[0] : known[-1]] == UNKNOWN
    if (np.diff(epoch[known]) < 0).any():
        return inside, "goes back"
    longest = int(np.diff(known).max(initial=1)) - 1
    usual = float(np.median(np.unique(epoch[known], return_counts=True)[1]))
    if longest > max(rows, part * usual):
        return inside, f"leaves open which epoch {longest:,} losses in a row belong to"
    return inside, ""


def _lasts(tag_step: Ints, first: Ints) -> bool:
    """True if an epoch number is written at several steps, not at one of each epoch."""
    last = np.append(first[1:], len(tag_step)) - 1
    return bool(np.median((tag_step[last] - tag_step[first])[:-1]) > 0)


def _by_numbers(step: Ints, tag_step: Ints, number: Ints) -> Labels:
    """A whole number that is written again and again: a loss between two equal ones has that epoch."""
    change = np.flatnonzero(np.diff(number) > 0)
    length = np.diff(tag_step[change])
    # Rounded to whole numbers the first epoch would be half as long as the others.
    if len(length) > 1 and number[0] == 0 and 0.4 < (tag_step[change[0]] - step[0]) / float(np.median(length)) < 0.6:
        return Labels(why="begins with half an epoch, as a number does that is rounded")
    before = np.searchsorted(tag_step, step, side="right") - 1
    after = np.searchsorted(tag_step, step, side="left")
    inside = (before >= 0) & (after < len(number))
    left, right = number[np.maximum(before, 0)], number[np.minimum(after, len(number) - 1)]
    epoch = np.where(inside & (left == right), left, UNKNOWN)
    if number[0] == 0:
        epoch = np.where(after == 0, 0, epoch)  # nothing comes before the first epoch
    return Labels(epoch.astype(np.int64))


def _by_fractions(step: Ints, tag_step: Ints, value: Floats) -> Labels:
    """A number that rises within the epoch: `(step + shift) / length`, rounded or cut to some decimals."""
    unit = _unit(value)
    low, high = np.full(len(step), np.iinfo(np.int64).max), np.full(len(step), UNKNOWN)
    fits = False
    for shift in (0, 1):
        for below, above in ((unit / 2, unit / 2), (0.0, unit)):  # rounded, or cut
            room = 2e-7 * np.abs(value)  # of float32, in which scalars are written
            length = _lengths(tag_step + shift, value - below - room, value + above + room)
            if length is None:
                continue
            fits = True
            for each in length:
                at = (step + shift) / each
                whole = np.round(at)
                edge = np.abs(at - whole) * each < 1e-3  # a step that ends an epoch or begins one
                starts = shift == 0 and step.min() == 0  # it counts the steps before, so that it begins one
                floor = np.where(edge, whole, np.floor(at)).astype(np.int64)
                low = np.minimum(low, np.where(edge & (not starts), floor - 1, floor))
                high = np.maximum(high, np.where(edge & (shift == 1), floor - 1, floor))
    if not fits:
        return _near_values(step, tag_step, value, unit)
    return Labels(np.where(low == high, low, UNKNOWN).astype(np.int64))


def _near_values(step: Ints, tag_step: Ints, value: Floats, unit: float) -> Labels:
    """Where no one length fits: the whole part of the values beside a loss, if rounding cannot have changed it."""
    before = np.searchsorted(tag_step, step, side="right") - 1
    after = np.searchsorted(tag_step, step, side="left")
    inside = (before >= 0) & (after < len(value))
    least = np.floor(value[np.maximum(before, 0)] - unit)
    most = np.floor(value[np.minimum(after, len(value) - 1)] + unit)
    return Labels(np.where(inside & (least == most), least, UNKNOWN).astype(np.int64))


def _unit(value: Floats) -> float:
    """The last decimal that the values have; what float32 leaves open where they are not rounded."""
    size = float(np.abs(value).max())
    for decimals in range(1, 6):
        scaled = value * 10.0**decimals
        room = 10.0**decimals * size * 2e-7 + 1e-6
        if room > 0.1:
            break
        if np.abs(scaled - np.round(scaled)).max() <= room:
            return 10.0**-decimals
    return size * 4e-7 + 1e-7


def _lengths(at: Ints, low: Floats, high: Floats) -> tuple[float, float] | None:
    """Shortest and longest epoch, in steps, for which `at / length` lies between `low` and `high` at each point, or None."""
    here = at > 0
    with np.errstate(divide="ignore"):
        longest = np.min(np.where(low[here] > 0, at[here] / np.maximum(low[here], 1e-300), np.inf), initial=np.inf)
        shortest = np.max(at[here] / np.maximum(high[here], 1e-300), initial=0.0)
    if shortest > longest * (1 + 1e-9) or not math.isfinite(longest) or shortest <= 0:
        return None
    whole = round((shortest + longest) / 2)
    if longest - shortest < 0.2 and shortest * (1 - 1e-9) <= whole <= longest * (1 + 1e-9):
        return float(whole), float(whole)  # steps of accumulated batches need not be a whole number, but then differ by more
    return float(shortest), float(longest)
