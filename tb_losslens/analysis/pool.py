"""All boundaries of a run taken together: does the loss jump at them, and which way?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Rows
from tb_losslens.analysis.contrast import Contrast
from tb_losslens.analysis.few import p_by_size, together
from tb_losslens.analysis.finding import Pooled
from tb_losslens.analysis.stats import Floats, median, sign_test, signed_rank_p
from tb_losslens.store.run import Run


def pool(
    used: list[Contrast],
    jump: Floats,
    significant: NDArray[np.bool_],
    reason: str,
    *,
    same: Rows,
    level: float = 0.01,
    least_z: float = 0.5,
    least_part: float = 0.6,
    few: int = 8,
) -> Pooled:
    """Signed-rank test over the boundaries: at two window sizes at least, in the same direction.

    The windows of two boundaries share no batch, so their z are independent under the null, unless the order of samples
    repeats: boundaries between the same two orders (equal numbers in `same`) see the same batches and count once, with
    their mean. With many boundaries a hair's breadth of bias would pass, hence `least_z` (median z) and `least_part` of
    the boundaries. With fewer than `few` different ones a rank test cannot reach `level`: their sizes are added up instead, or
    half of them are significant alone and none against them.
    """
    z = used[0].z
    if reason:
        return Pooled(reason=reason, total=int(np.isfinite(z).sum()), median=median(jump), z=median(z))
    tests = [(signed_rank_p(_once(c.z, same)), median(c.z)) for c in used]
    up, down, _ = sign_test(z)
    p = sorted(test[0] for test in tests)[min(1, len(tests) - 1)]
    agree = {1 if side > 0 else -1 for q, side in tests if q <= p}
    middle = median(z)
    direction = 0
    if p < level and len(agree) == 1:
        side = agree.pop()
        part = (up if side > 0 else down) / max(up + down, 1)
        direction = side if part >= least_part and side * middle >= least_z else 0
    by_size = False
    if direction == 0 and len(_once(z, same)) < few:
        sizes = [p_by_size(_once(c.z, same), c.tail, _once(c.count.astype(np.float64), same, of=c.z)) for c in used]
        direction, together_p = together(sizes, [_once(c.z, same) for c in used])
        by_size = direction != 0
        p = together_p if by_size else p
    if direction == 0 and up + down:
        alone_up, alone_down = int((significant & (z > 0)).sum()), int((significant & (z < 0)).sum())
        if min(alone_up, alone_down) == 0 and 2 * max(alone_up, alone_down) >= up + down:
            direction = 1 if alone_up else -1
    total = int(np.isfinite(z).sum())
    reason = "" if total else "Too few batches lie around the boundaries."
    return Pooled(direction, up, down, total, median(jump), middle, p, reason, by_size=by_size)


def same_orders(run: Run) -> Rows:
    """A number for each boundary, equal where the epochs before and after have the same two orders of samples."""
    seen: dict[object, int] = {}
    hashes = [e.fields.get("order_hash") for e in run.epochs]
    keys = [(a, b) if a and b else k for k, (a, b) in enumerate(pairwise(hashes))]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def _once(z: Floats, same: Rows, *, of: Floats | None = None) -> Floats:
    """Mean of `z` over each group of boundaries, of those that are finite (in `of`, if given)."""
    known = np.isfinite(z if of is None else of)
    if not known.any():
        return z
    count = np.bincount(same[known])
    total = np.bincount(same[known], weights=z[known])
    return np.asarray(total[count > 0] / count[count > 0])
