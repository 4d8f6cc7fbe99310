"""Why the running statistics of BatchNorm are off at some validations: by counts, the last batch, or the momentum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.batchnorm_gap import momenta, outside_updates, weight_of_start
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Why:
    """The sub-kind, and what is said and done about it; `text` and `evidence` are empty where nothing tells."""

    detail: str
    text: str
    evidence: tuple[Evidence, ...]
    advice: str
    fix: str


def why(run: Run, rows: Sequence[int], *, touched: bool, low: float = 0.05, high: float = 0.5) -> Why:
    """The first that holds of: changed by no step, a tiny last batch, momentum too low or high; else a lag.

    Args:
        run: the run.
        rows: batches before which the affected validations ended.
        touched: the statistics are known to have changed between a step and the validation.
        low: momentum below which it is no usual one.
        high: the same above.
    """
    counts = outside_updates(run)
    outside = [counts[row] for row in rows if row in counts]
    if touched:
        return _outside(outside, rows)
    known = momenta(run)
    plain = [m for m in known if math.isfinite(m)]
    small = _last_batch(run, rows)
    if small is not None and (not plain or max(plain) >= low):
        return _tiny(run, small, max(plain, default=0.1))
    if plain and min(plain) < low:
        return _low(rows, min(plain))
    if plain and max(plain) > high:
        return _high(max(plain))
    if known and not plain:
        return Why(
            "average", "Its momentum is None: they are a plain average over all batches since the start.",
            (Evidence("all layers have a momentum of None, which weighs the first batch as much as the last one (1:1)"),),
            "Give the layers a momentum of 0.1, which forgets the weights of long ago.", _set_momentum("None"),
        )  # fmt: skip
    return Why(
        "lag", "", (),
        "Lower the LR, take larger batches, or gather the statistics anew before each validation; GroupNorm needs none.",
        "from torch.optim.swa_utils import update_bn\n\n"
        "update_bn(train_loader, model)     # before the validation: statistics of the weights as they are now\n"
        "model.eval()",
    )  # fmt: skip


def _outside(counts: Sequence[int], rows: Sequence[int]) -> Why:
    """`counts`: updates that no step made, where they are known."""
    around = f"around {plural(len(rows), 'validation')}"
    if counts and counts[0] < 0:
        text, said = "They were set back there.", f"their updates are {-counts[0]:,} fewer than the steps made, {around}"
    elif counts:
        text = "Other data passed through the model in training mode there."
        said = f"they were updated {counts[0]:,} times more than by the steps, {around}"
    else:
        text = "Something changed them after the last step before it."
        said = f"the buffers of the model are others at the begin of {plural(len(rows), 'validation')} than after the last step"
    return Why(
        "updated_outside", text, (Evidence(said, "bn_updates"),),
        "Put the model into evaluation mode wherever anything but training batches passes through it; where the statistics are "
        "set back on purpose, gather them anew before the validation.",
        "model.eval()               # around every pass that is no training step, as for pictures, samples or statistics\n"
        "with torch.no_grad():\n"
        "    model(other_data)\n"
        "model.train()\n"
        "# after `reset_running_stats()`: torch.optim.swa_utils.update_bn(train_loader, model)",
    )  # fmt: skip


def _last_batch(run: Run, rows: Sequence[int], *, few: float = 8.0, part: float = 0.25) -> float | None:
    """Samples in the last batch before these validations, if they are a few only; else None."""
    sizes = run.float("batch_size")
    usual, last = median(sizes), median(sizes[np.array([max(0, row - 1) for row in rows], dtype=np.int64)])
    return last if last <= few and last <= part * usual else None


def _tiny(run: Run, samples: float, momentum: float) -> Why:
    usual = median(finite(run.float("batch_size")))
    count = plural(int(samples), "sample")
    said = f"the last batch before the validation has {count}, the others {usual:,.0f}; with a momentum of {number(momentum)}"
    return Why(
        "last_batch", f"The last batch before it has {count}, and makes up {percent(momentum)} of them.",
        (Evidence(f"{said} it is {percent(momentum)} of the running statistics", "batch_size"),),
        "Leave the last, small batch out, or use a smaller momentum.",
        f"train_loader = DataLoader(dataset, batch_size={usual:.0f}, shuffle=True, drop_last=True)     # not {count} last",
    )  # fmt: skip


def _low(rows: Sequence[int], momentum: float) -> Why:
    left = weight_of_start(rows[0], momentum)
    memory = f"{1 / momentum:,.0f} batches" if momentum > 0 else "without end"
    said = f"the momentum is {number(momentum)}: a memory of {memory}" if momentum > 0 else "the momentum is 0: no batch counts"
    if left > 0.01:
        said += f"; at the first of these validations {percent(left)} of them is from before the training"
    return Why(
        "momentum_low", f"Their momentum of {number(momentum)} lets them lag behind the weights.",
        (Evidence(said, "bn_updates"),),
        "Raise the momentum to 0.1: in PyTorch it is the weight of the newest batch, elsewhere that of the old average.",
        _set_momentum(number(momentum)),
    )  # fmt: skip


def _high(momentum: float) -> Why:
    return Why(
        "momentum_high", f"Their momentum of {number(momentum)} leaves them to the last batch or two.",
        (Evidence(f"the momentum is {number(momentum)}: the last batch is {percent(min(momentum, 1.0))} of them"),),
        "Lower the momentum to 0.1: in PyTorch it is the weight of the newest batch, elsewhere that of the old average.",
        _set_momentum(number(momentum)),
    )  # fmt: skip


def _set_momentum(was: str) -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, nn.modules.batchnorm._BatchNorm):\n"
        f"        module.momentum = 0.1     # was {was}"
    )
