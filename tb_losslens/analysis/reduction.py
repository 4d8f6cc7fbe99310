"""Whether the recorded loss is a mean or a sum over the samples of its batch, by equality where that is known.

With `c` a constant, a mean is `loss = c mean(losses of the samples)` in batches of every size, and a sum is
`loss = c n mean(losses of the samples)`, whatever the constant is (as in `loss_sum / 64`). Batches of two sizes tell the two
apart exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tb_losslens.analysis.loss_function import identity_codes
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Reduction:
    """What holds by equality.

    Attributes:
        kind: "sum" or "mean".
        said: the equality, in words.
        criterion: what the criterion returns, if that is another one than what was recorded, else "".
    """

    kind: Literal["sum", "mean"]
    said: str
    criterion: str = ""


def exact_reduction(run: Run, small: Rows, usual: float) -> Reduction | None:
    """The reduction of the recorded loss; None where no equality is known or none holds.

    Args:
        run: the run.
        small: rows of the batches that are smaller.
        usual: samples of the others.
    """
    named = _named(run, usual)
    found = _by_samples(run, small, usual)
    if found is not None:
        other = named if named in ("mean", "sum") and named != found else ""
        words = {"sum": "the sum of the losses of its samples", "mean": "the mean of the losses of its samples"}[found]
        return Reduction(found, f"where it was computed beside, the loss is {words}, times one constant", other)
    criterion = run.facts.get("criterion")
    declared = isinstance(criterion, dict) and criterion.get("reduction") == "sum"  # a declared sum is no other function
    if named is None or not (run.facts.get("loss_source") == "criterion" or declared):
        return None
    return Reduction(named, f"the criterion returns the {named} over the batch")


def _by_samples(
    run: Run, small: Rows, usual: float, *, tolerance: float = 1e-3, least: int = 2, part: float = 0.95
) -> Literal["sum", "mean"] | None:
    """From the losses of single samples: needs `least` full batches, and holds in `part` of all.

    Without a small batch to compare with, only the plain sum can be told: a mean of N is also a sum over the constant N.
    """
    ratio = _over_mean_of_samples(run)
    sizes = run.float("batch_size")
    whole = ratio[sizes == usual]
    few, n = ratio[small], sizes[small]
    whole, n, few = whole[np.isfinite(whole)], n[np.isfinite(few)], few[np.isfinite(few)]
    if len(whole) < least:
        return None
    constant = median(whole)
    if not constant > 0 or (np.abs(whole / constant - 1) <= tolerance).mean() < part:
        return None
    if not len(few):
        return "sum" if usual > 1 and abs(constant / usual - 1) <= tolerance else None
    if (np.abs(few / constant - 1) <= tolerance).mean() >= part:
        return "mean"
    return "sum" if (np.abs(few * usual / (n * constant) - 1) <= tolerance).mean() >= part else None


def _over_mean_of_samples(run: Run) -> Floats:
    """Each loss over the mean loss of the samples of its batch, shape (n,); NaN where those are not known."""
    out = np.full(len(run), np.nan)
    losses = run.ragged.get("per_sample")
    if losses is None or not run.has("batch_size"):
        return out
    counts = np.diff(losses.offsets)
    rows = np.flatnonzero((counts > 0) & (counts == run.float("batch_size")))
    loss = run.loss
    for row in rows.tolist():
        inside = float(np.mean(losses[row], dtype=np.float64))
        if np.isfinite(inside) and inside > 0:
            out[row] = loss[row] / inside
    return out


def _named(run: Run, usual: float, *, part: float = 0.95) -> Literal["sum", "mean"] | None:
    """The reduction of what the criterion returns: by identity in full batches (of one sample both are equal), else by name."""
    codes = identity_codes(run)[run.float("batch_size") == usual]
    codes = codes[np.isfinite(codes)]
    names = run.facts.get("identities")
    if len(codes) and isinstance(names, list | tuple):
        ends = [str(names[int(c)]).rpartition("/")[2] if 0 <= c < len(names) else "" for c in codes]
        if np.mean([end == "sum" for end in ends]) >= part:
            return "sum"
        return "mean" if np.mean([end in ("mean", "batchmean") for end in ends]) >= part else None
    criterion = run.facts.get("criterion")
    reduction = criterion.get("reduction") if isinstance(criterion, dict) else None
    return reduction if reduction in ("sum", "mean") else None
