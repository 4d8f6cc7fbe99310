"""Whether a batch has other data, or was computed in another mode, than usual: its loss then says nothing of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.outliers import away_from_usual, standing_apart
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent
from tb_losslens.store.run import Run

_SIGNALS = (
    ("input_mean", "mean of its inputs"),
    ("input_std", "spread of its inputs"),
    ("target_mean", "mean target"),
    ("target_std", "spread of its targets"),
)


def own_data(run: Run, row: int, *, most: float = 0.25) -> str:
    """In words what is unlike others in the batch of `row` or the one before, whose update comes first; "" for nothing.

    Args:
        run: the run.
        row: where a loss is high.
        most: part of all batches that may be unlike the others: single samples come in many of them.
    """
    rows = np.arange(max(0, row - 1), min(row + 1, len(run)))
    for name, label in _SIGNALS:
        distance = away_from_usual(run.float(name), run.float("batch_size") if run.has("batch_size") else None)
        apart = np.intersect1d(rows, standing_apart(distance, most=most))
        if len(apart):
            far = number(float(distance[apart].max()), 2)
            return f"the {label} lies {far} sigma from that of the usual batch at step {int(run.step[apart[-1]]):,}"
    return _one_class(run, rows)


def other_mode(run: Run, row: int) -> str:
    """In words, that the forward of `row` is not known to be computed as those of the first batches; "" where it is.

    In evaluation mode BatchNorm divides by averages that do not follow the weights: loss and gradients leap for that.
    """
    mode, first = run.float("train_mode"), finite(run.float("train_mode"))[:1]
    if len(first) and math.isfinite(mode[row]):
        return "" if mode[row] == first[0] else "the model is not in the mode that it began in"
    model = run.facts.get("model")
    two_modes = isinstance(model, Mapping) and bool(model.get("batchnorm") or model.get("dropout"))
    validated = any(event.kind == "validation_end" and event.batch <= row for event in run.events)
    return "the mode of a model with two of them was not recorded" if two_modes and validated else ""


def _one_class(run: Run, rows: np.ndarray[tuple[int], np.dtype[np.int64]], *, nearly: float = 0.9, samples: int = 8) -> str:
    """Says so where a batch of many samples holds next to nothing but one class of a run that has several."""
    if not run.has("classes"):
        return ""
    shares, sizes = known_shares(run), sample_weights(run)
    known = np.isfinite(shares).all(axis=1) & (sizes > 0)
    if shares.shape[1] < 2 or not known.any() or np.average(shares[known], axis=0, weights=sizes[known]).max() > 0.5:
        return ""
    for row in rows[known[rows] & (sizes[rows] >= samples)].tolist():
        if shares[row].max() >= nearly:
            usual = percent(median(shares[known].max(axis=1)))
            of_one = f"{percent(float(shares[row].max()))} of the samples of step {int(run.step[row]):,} are of one class"
            return f"{of_one} (in the middle of all batches {usual} of the largest)"
    return ""
