"""Which function of output and target the loss is over a whole run, and what kind of numbers the output is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.store.run import Run

PROBABILITIES, LOG_PROBABILITIES, WITHIN_UNIT = 1, 2, 3
"""Codes of column `output_kind`; 0 is anything."""


@dataclass(frozen=True)
class LossFunction:
    """What the loss is by an equality that was tested in single batches: that of a watched criterion, else the logged one.

    Attributes:
        name: as "cross_entropy", without its reduction.
        reduction: "mean", "sum" or "batchmean".
        rows: batches in which it was tested and held.
        tested: batches in which it was tested, those with a finite loss.
        kinds: code of the kind of the output in `rows`.
    """

    name: str
    reduction: str
    rows: Rows
    tested: int
    kinds: Floats

    def always(self, *kinds: int) -> bool:
        """True if the output is of one of these kinds in every batch that was tested."""
        return bool(np.isin(self.kinds, kinds).all())


def identity_codes(run: Run, *, smallest: float = 1e-6) -> Floats:
    """Column `loss_identity`, shape (n,); NaN also where the loss is too small to be compared.

    A loss of no more than `smallest` has too few digits for that, so -1 says nothing there: a model that has learned its
    samples by heart ends with many of them.
    """
    codes = run.float("loss_identity")
    return np.where((codes < 0) & (np.abs(run.loss) <= smallest), np.nan, codes)


def loss_function(run: Run, *, part: float = 0.9, least: int = 3) -> LossFunction | None:
    """The function that the loss is in `part` of the batches that were tested, `least` at least; None if there is none."""
    names = run.facts.get("identities")
    codes = identity_codes(run)
    rows = np.flatnonzero(np.isfinite(codes) & np.isfinite(run.loss))
    if not isinstance(names, list | tuple) or len(rows) < least:
        return None
    whole = [str(names[int(codes[row])]) if 0 <= codes[row] < len(names) else "" for row in rows]
    function = [one.partition("/")[0] for one in whole]
    name, count = Counter(function).most_common(1)[0]
    if not name or count < max(least, part * len(rows)):
        return None
    held = np.array([one == name for one in function])
    reduction = Counter(one.partition("/")[2] for one in whole if one.startswith(f"{name}/")).most_common(1)[0][0]
    return LossFunction(name, reduction, rows[held], len(rows), run.float("output_kind")[rows[held]])


def mean_losses(run: Run, function: LossFunction) -> Floats:
    """The mean of the function's losses over the samples of each batch, shape (n,); NaN where it is not known.

    From the losses of single samples where these were kept. The loss itself stands in only where the function is a mean and
    the loss is what was tested.
    """
    out = np.full(len(run), np.nan)
    kept = run.ragged.get("per_sample")
    if kept is not None:
        for row in function.rows.tolist():
            out[row] = mean(kept[row])
    if function.reduction == "mean" and is_the_loss(run):
        out = np.where(np.isfinite(out), out, run.loss)
    return out


def is_the_loss(run: Run) -> bool:
    """True if what was tested is the recorded loss: that of the criterion, or a logged one that no watched module computed.

    Where a module is watched and the loss is logged besides, the two may be different numbers.
    """
    criterion = run.facts.get("criterion")
    watched = isinstance(criterion, Mapping) and "weighted" in criterion  # a function has a name only
    return run.facts.get("loss_source") == "criterion" or not watched
