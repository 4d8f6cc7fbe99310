"""Where the level of a series changes: binary segmentation, for places that no event marks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.stats import Floats


def change_points(values: Floats, *, penalty: float, least: int = 8, most: int = 200) -> list[int]:
    """First rows of the segments after the first one, in order.

    The series is cut where two means instead of one lower the sum of squares by most, and each part again, the best cut
    first, as long as a cut gains more than `penalty` (Scott and Knott 1974; Fryzlewicz 2014, section 1). A cut takes one pass
    over its part, so that all of them take about n log n.

    Args:
        values: shape (n,), all finite.
        penalty: least gain, in squared units of `values`: noise of variance s² reaches about 2 s² ln n by chance.
        least: rows of a segment.
        most: points, at most.
    """
    total = np.concatenate([[0.0], np.cumsum(values - values.mean() if len(values) else values)])
    found: list[int] = []
    heap: list[tuple[float, int, int, int]] = []

    def offer(first: int, end: int) -> None:
        cut = _best(total, first, end, least)
        if cut is not None and cut[0] > penalty:
            heapq.heappush(heap, (-cut[0], cut[1], first, end))

    offer(0, len(values))
    while heap and len(found) < most:
        _, row, first, end = heapq.heappop(heap)
        found.append(row)
        offer(first, row)
        offer(row, end)
    return sorted(found)


def refined(values: Floats, points: Sequence[int], *, least: int = 8) -> list[int]:
    """Each point at its best place between its neighbours: the first cuts were made before the later ones were known."""
    total = np.concatenate([[0.0], np.cumsum(values - values.mean() if len(values) else values)])
    out: list[int] = []
    for k, row in enumerate(points):
        first = out[-1] if out else 0
        end = points[k + 1] if k + 1 < len(points) else len(values)
        cut = _best(total, first, end, least)
        out.append(row if cut is None else cut[1])
    return out


def _best(total: Floats, first: int, end: int, least: int) -> tuple[float, int] | None:
    """(gain, first row of the right part) of the best cut of rows first to end; None where they are too few."""
    rows = np.arange(first + least, end - least + 1)
    if not len(rows):
        return None
    left, right = rows - first, end - rows
    here = total[rows]
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest float have no squares
        apart = (here - total[first]) / left - (total[end] - here) / right
        gain = apart * apart * (left * right / (end - first))
    k = int(np.argmax(gain))
    return (float(gain[k]), int(rows[k])) if np.isfinite(gain[k]) else None
