"""What was seen of BatchNorm's running statistics at the validations, as evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.batchnorm_gap import Experiment, Statistics, lost_of
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.held_out_curve import Curve, place
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run


def most_seen(curve: Curve, tests: Sequence[Experiment], read: Sequence[Statistics]) -> str:
    """The largest cost of evaluation mode and the furthest statistics, in one sentence; "" where nothing was seen."""
    heldout = lost_of(curve, tests, "heldout")
    wide = np.array([one.off for one in read])
    said = []
    if np.isfinite(heldout).any():
        cost = percent(min(float(np.nanmax(heldout)), 9.99))
        count = plural(int(np.isfinite(heldout).sum()), "validation")
        said.append(f"evaluation mode costs the same held-out batch up to {cost} of what was learned, at {count}")
    if np.isfinite(wide).any():
        one = read[int(np.nanargmax(wide))]
        said.append(
            f"the running statistics of layer {one.layer} are off by up to {number(one.mean, 2)} standard deviations and "
            f"{number(float(np.exp(one.log_ratio)), 2)} times the variance right after a validation"
        )
    return "; ".join(said)


def by_experiment(run: Run, curve: Curve, tested: Sequence[int], tests: Sequence[Experiment]) -> list[Evidence]:
    """What the probe says, of the validation with the largest difference."""
    if not tested:
        return []
    heldout, train = lost_of(curve, tests, "heldout"), lost_of(curve, tests, "train")
    k = max(tested, key=lambda i: float(heldout[i]))
    pair, other, test = tests[k].heldout, tests[k].train, tests[k]
    if pair is None:
        return []
    part = (pair.eval - pair.batch) / max(float(curve.value[k]) - pair.batch, 1e-30)
    lines = [
        Evidence(
            f"by experiment, {place(run, curve.validations[k])}, with the same weights: the loss of the same held-out batch is "
            f"{number(pair.eval)} in evaluation mode and {number(pair.batch)} with BatchNorm on the statistics of the batch, "
            f"{percent(min(float(heldout[k]), 9.99))} of what was learned"
        ),
        Evidence(
            f"that reproduces {percent(float(np.clip(part, 0, 1)))} of what the validation ({number(float(curve.value[k]))}) "
            "lies above it"
        ),
    ]
    if other is not None:
        lines.append(
            Evidence(
                f"the same training batch: {number(other.eval)} against {number(other.batch)}, in the median over these "
                f"validations {percent(float(np.clip(median(train[list(tested)]), -9.99, 9.99)))} of what was learned"
            )
        )
    if other is not None and test.touched is not None:
        lines.append(
            Evidence(
                f"between the end of the epoch and the validation the loss of that training batch in evaluation mode went from "
                f"{number(test.touched)} to {number(other.eval)}, with the same weights and the same loss on its own statistics"
            )
        )
    return lines


def held_out(curve: Curve, rows: list[int]) -> list[Evidence]:
    """The held-out loss at these validations, at the others, and the training loss meanwhile."""
    rest = np.delete(curve.value, rows)
    others = f", {number(median(rest))} at the others" if len(rest) else ""
    said = f"the held-out loss is {number(median(curve.value[rows]))} in the median over these validations{others}"
    return [Evidence(f"{said}; the training loss before them {number(median(curve.train[rows]))}", "loss")]


def of_statistics(curve: Curve, rows: list[int], read: Sequence[Statistics]) -> list[Evidence]:
    """The furthest statistics right after one of these validations, beside those after the others."""
    known = [k for k in rows if math.isfinite(read[k].off)]
    if not known:
        return []
    k = max(known, key=lambda i: read[i].off)
    one, row = read[k], int(curve.rows[k])
    others = np.array([s.off for i, s in enumerate(read) if i not in rows])
    rest = f"; at the other validations {number(median(others), 2)} times as far as counts" if np.isfinite(others).any() else ""
    return [
        Evidence(
            f"right after it the running mean of layer {one.layer} lies {number(one.mean, 2)} standard deviations of the batch "
            f"from its mean, beyond what its samples stray by, and its running variance is "
            f"{number(float(np.exp(one.log_ratio)), 2)} times that of the batch{rest}",
            "bn_mean_gap",
            (max(0, row - 5), row + 5),
        )
    ]
