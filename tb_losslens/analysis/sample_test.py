"""Whether the batches that hold a certain sample have a higher loss than the others, epoch after epoch."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.orders import repeats
from tb_losslens.analysis.tails import chi2_sf
from tb_losslens.store.run import Run


def standing_behind(
    run: Run,
    *,
    level: float = 0.01,
    late: float = 0.5,
    least_epochs: int = 5,
    least_batches: int = 10,
    most: int = 4_000_000,
) -> dict[int, float]:
    """Samples whose batches lie at the top of their epochs, each with its p for all samples at once; most certain first.

    A sample without influence is as likely in any place of a shuffled epoch, so the part of an epoch in batches of as high a
    loss or higher is a p-value of its own in each epoch. Fisher's sum adds them up, and Bonferroni corrects for the samples. A
    right but hard sample is found as a wrong label is: from batches the two look the same.

    Args:
        run: with loss and sample ids.
        level: of all samples together.
        late: part of the epochs that count, the last ones: before a model is good all samples are hard.
        least_epochs: of those.
        least_batches: of an epoch.
        most: sample ids that are read for this; a run with more of them is not asked.

    References:
        Fisher, Statistical Methods for Research Workers, 1925 (sum of logarithms of p-values).
    """
    if np.nansum(run.float("batch_size")) > most:
        return {}
    ids, loss = run.ragged.get("sample_ids"), run.loss
    epochs = [epoch for epoch in run.epochs[int((1 - late) * len(run.epochs)) :] if len(epoch) >= least_batches]
    orders = repeats(run)
    if ids is None or not len(ids.values) or len(epochs) < least_epochs or orders.again or orders.later:
        return {}
    samples, place = np.unique(ids.values, return_inverse=True)
    total, count = np.zeros(len(samples)), np.zeros(len(samples))
    for epoch in epochs:
        bounds = ids.offsets[epoch.first : epoch.last + 1]
        sizes, here = np.diff(bounds), loss[epoch.first : epoch.last]
        if not np.isfinite(here).all() or not sizes.all():
            continue
        order = np.argsort(-here, kind="stable")
        p = np.empty(len(here))
        p[order] = np.cumsum(sizes[order]) / sizes.sum()
        inside = place[bounds[0] : bounds[-1]]
        once = np.bincount(inside, minlength=len(samples)) == 1  # drawn with replacement it is two places of one epoch
        add = np.bincount(inside, weights=np.repeat(-2 * np.log(p), sizes), minlength=len(samples))
        total += np.where(once, add, 0.0)
        count += once
    p_all = np.asarray(chi2_sf(total, np.maximum(2 * count, 1))) * len(samples)
    found = np.flatnonzero((p_all < level) & (count >= least_epochs))
    return {int(samples[k]): float(p_all[k]) for k in found[np.argsort(p_all[found])]}
