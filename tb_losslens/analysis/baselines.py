"""What an output that knows nothing has as its loss: the two levels that a first loss and a floor are measured against.

The untrained output gives every class the same probability, or is 0. The best constant knows how frequent the classes are, or
the mean of the targets: what stays at its loss has learned nothing from the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.loss_function import LossFunction
from tb_losslens.analysis.stats import Floats, finite
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run

SOFTMAX = ("cross_entropy", "nll", "cross_entropy_smoothed", "cross_entropy_of_probabilities")
BINARY = ("bce_with_logits", "bce")
DISTANCES = ("mae", "smooth_l1", "huber")


@dataclass(frozen=True)
class Classes:
    """The integer targets of a run.

    Attributes:
        ids: the classes that came, in order.
        counts: samples of each.
        complete: every class of every batch was counted; else only the most frequent ones of each batch.
    """

    ids: tuple[int, ...]
    counts: Floats
    complete: bool

    @property
    def entropy(self) -> float:
        """Cross-entropy of the best constant, in nats."""
        share = self.counts / self.counts.sum()
        return float(-(share * np.log(share)).sum())


@dataclass(frozen=True)
class Baselines:
    """Losses of outputs that know nothing; NaN where one is unknown.

    Attributes:
        untrained: of the output that gives every class the same probability, or is 0.
        constant: of the best constant; NaN where it is not known, as with weights for the classes.
        said: what `untrained` is, as "ln 10 = 2.3".
    """

    untrained: float
    constant: float
    said: str


def classes_of(run: Run) -> Classes | None:
    """The integer targets that the loader gave; None where there were none or they were not recorded."""
    ragged = run.ragged.get("classes")
    if ragged is None or not len(ragged.values):
        return None
    pairs = np.asarray(ragged.values, dtype=np.int64).reshape(-1, 2)
    ids, at = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.bincount(at, weights=pairs[:, 1].astype(np.float64)).astype(np.float64)
    kept = counts > 0
    if not kept.any():
        return None
    rest = finite(run.float("class_rest"))
    return Classes(tuple(int(i) for i in ids[kept]), counts[kept], not (rest > 0).any())


def positive_share(run: Run) -> float:
    """Share of positives among targets of 0 and 1, from integer or floating targets of the loader; NaN if unknown."""
    found = classes_of(run)
    if found is not None:
        if not found.complete or not set(found.ids) <= {0, 1}:
            return math.nan
        return float(found.counts[[i == 1 for i in found.ids]].sum() / found.counts.sum())
    means = finite(run.float("target_mean"))
    return float(means.mean()) if len(means) and means.min() >= 0 and means.max() <= 1 else math.nan


def _weighs_classes(run: Run) -> bool:
    """True for a criterion with a weight of its own for each class: the best constant is not the shares of the classes then."""
    criterion = run.facts.get("criterion")
    return isinstance(criterion, Mapping) and bool(criterion.get("weighted"))


def baselines(run: Run, function: LossFunction) -> Baselines | None:
    """The two levels for the function that the loss is; None where the targets do not tell them."""
    if function.name in SOFTMAX:
        found = classes_of(run)
        count = 0 if found is None else len(found.ids)
        if found is None or count < 2 or not found.complete:
            return None
        entropy = math.nan if _weighs_classes(run) else found.entropy
        return Baselines(math.log(count), entropy, f"ln {count} = {number(math.log(count))}")
    if function.name in BINARY:
        share = positive_share(run)
        known = math.isfinite(share) and 0 < share < 1 and not _weighs_classes(run)
        entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share)) if known else math.nan
        return Baselines(math.log(2), entropy, f"ln 2 = {number(math.log(2))}")
    means, spreads = run.float("target_mean"), run.float("target_std")
    known_rows = np.isfinite(means) & np.isfinite(spreads)
    if function.name != "mse" or not known_rows.any():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.mean(means[known_rows] ** 2 + spreads[known_rows] ** 2))
        level = square - float(np.mean(means[known_rows])) ** 2
    return Baselines(square, max(level, 0.0), f"the mean square of the targets, {number(square)}")
