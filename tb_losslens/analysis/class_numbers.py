"""Whether whole numbers are names of classes, and whether one output is fitted to them."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.baselines import Classes
from tb_losslens.analysis.loss_function import LossFunction
from tb_losslens.analysis.stats import median
from tb_losslens.store.run import Run


def are_names(found: Classes, even: float) -> bool:
    """True for three classes or more, numbered from 0 without a gap, with 30 samples each, and equally frequent."""
    if len(found.ids) < 3 or not found.complete or found.ids != tuple(range(len(found.ids))):
        return False
    return bool(found.counts.min() >= 30 and found.counts.max() <= even * found.counts.min())


def are_targets(run: Run, function: LossFunction, *, batches: int = 5, fit: float = 0.1) -> bool:
    """True if the errors of single samples in the first batches are those of one number against the classes of the batch.

    The output of an untrained model is nearly the same for all samples. So the errors, sorted, are the distances of the classes
    from some number, within `fit` of the spread of the classes.
    """
    losses, classes = run.ragged.get("per_sample"), run.ragged.get("classes")
    left = []
    for row in function.rows[:batches].tolist() if losses is not None and classes is not None else ():
        assert losses is not None
        assert classes is not None
        errors = np.sort(np.abs(np.asarray(losses[row], dtype=np.float64)))
        pairs = np.asarray(classes[row], dtype=np.int64).reshape(-1, 2)
        targets = np.repeat(pairs[:, 0], pairs[:, 1]).astype(np.float64)
        if len(targets) < 8 or len(errors) != len(targets) or not np.ptp(targets) or not np.isfinite(errors).all():
            continue
        errors = np.sqrt(errors) if function.name == "mse" else errors
        outputs = np.linspace(targets.min() - 1, targets.max(), 101)
        distances = np.sort(np.abs(targets[None, :] - outputs[:, None]), axis=1)
        left.append(float(np.sqrt(((errors - distances) ** 2).mean(axis=1)).min() / targets.std()))
    return len(left) >= 3 and median(np.array(left)) <= fit
