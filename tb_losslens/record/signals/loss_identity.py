"""Answers which function of output and target the recorded loss is, by computing each of them beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tb_losslens.record.collector import Collector
from tb_losslens.record.late_list import as_row_list
from tb_losslens.record.measures import local, widest
from tb_losslens.record.row import Row
from tb_losslens.record.signals.loss_functions import (
    FUNCTIONS,
    IDENTITIES,
    KINDS,
    REDUCTIONS,
    Losses,
    Settings,
    as_classes,
    losses_by,
    output_kind,
)

RELATIVE = 1e-4
"""Distance of a function from the loss, as a share of it, up to which it is the loss."""

MOST_ELEMENTS = 1 << 22
"""Elements of an output that is still computed with."""

MOST_SAMPLES = 4096
"""Samples of a batch whose losses are kept."""

EVERY = 16
"""One in so many dense rows is looked at, besides those near a boundary."""

SMALLEST = 1e-6
"""A loss that is no larger has too few digits to be compared."""


def identity_facts() -> dict[str, Any]:
    """What the codes mean, for the facts of the run."""
    return {"identities": list(IDENTITIES), "output_kinds": list(KINDS)}


class LossIdentity(Collector):
    """`loss_identity` and `output_kind` of some rows, and the loss of each sample where the identity holds.

    The loss is what a watched criterion returned, output and target are what it was given. Nothing is kept of them. Computed
    are the rows near a boundary, and one in 16 of the other dense ones; a row without it has neither column. -1: none of the
    functions is within 1e-4 of the loss. A loss of half precision has too few digits for that and is left out.

    Args:
        criteria: gives the watched criteria, for class weights, `ignore_index` and label smoothing.
    """

    deep = True
    name = "identity of the loss"

    def __init__(self, criteria: Callable[[], Sequence[Any]]) -> None:
        self._criteria = criteria
        self._calls = 0
        self._known: str | None = None

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:
        """Compares the loss with each function: first with that of the last time."""
        self._calls += 1
        if "loss_identity" in row.values or not (row.dense > 1 or self._calls % EVERY == 1):
            return
        pair = pair_of(given)
        if pair is None or loss.dtype not in (torch.float32, torch.float64):
            return
        output, target = pair
        with torch.no_grad():
            value = loss.detach().to(widest(loss.device)).mean()
            settings = settings_of(self._criteria())
            names = FUNCTIONS if self._known is None else (self._known,)
            code, found = _identify(names, output, target, value, settings)
            if self._known is not None and code == -1:
                names = FUNCTIONS
                code, found = _identify(names, output, target, value, settings)
            table = as_classes(output, target) if not target.is_floating_point() else None
            kind = output_kind(table if table is not None else output)
            self.tell(row, {"loss_identity": code, "output_kind": kind})
            self._keep_samples(row, names, code, found)

    def _keep_samples(self, row: Row, names: Sequence[str], code: int | Tensor, found: dict[str, Losses]) -> None:
        if isinstance(code, Tensor):  # a device knows; its answer is not waited for
            return
        self._known = FUNCTIONS[code // len(REDUCTIONS)] if code >= 0 else None
        if self._known in names and self._known in found and "per_sample" not in row.lists:
            losses = found[self._known].per_sample
            if len(losses) <= MOST_SAMPLES and (row.batch is None or row.batch.size in (-1, len(losses))):
                row.lists["per_sample"] = as_row_list(losses)


def _identify(
    names: Sequence[str], output: Tensor, target: Tensor, loss: Tensor, settings: Settings
) -> tuple[int | Tensor, dict[str, Losses]]:
    """Code of the first function and reduction that is the loss, -1 without any; a 0-d tensor where a device has to say."""
    found = losses_by(tuple(names), output, target, settings)
    if not found:
        return -1, found
    codes = [FUNCTIONS.index(name) * len(REDUCTIONS) + i for name in found for i in range(len(REDUCTIONS))]
    order = sorted(range(len(codes)), key=codes.__getitem__)
    values = torch.cat([losses.reduced() for losses in found.values()])
    if values.device.type == "cpu" and loss.device.type == "cpu":
        number, values_now = float(loss), values.tolist()
        fits = (i for i in order if abs(values_now[i] - number) <= RELATIVE * abs(number))
        first = next(fits, None) if abs(number) > SMALLEST else None
        return (-1 if first is None else codes[first]), found
    return first_on_device(values, loss, [(i, codes[i]) for i in order]), found


def first_on_device(values: Tensor, loss: Tensor, codes: Sequence[tuple[int, int]]) -> Tensor:
    """Code of the first value that is the loss, else -1, as a 0-d tensor on their device.

    Args:
        values: shape (k,).
        loss: 0-d.
        codes: pairs (place in `values`, code), the most believed first.
    """
    near = ((values - loss).abs() <= RELATIVE * loss.abs()) & (loss.abs() > SMALLEST)
    best = torch.full((), -1.0, device=values.device)
    for place, code in reversed(codes):  # plain numbers go into the operation: a list of them would have to be copied there
        best = torch.where(near[place], float(code), best)
    return best


def pair_of(given: tuple[Any, ...]) -> tuple[Tensor, Tensor] | None:
    """Output and target, the first two of a criterion's arguments, on one device and small enough; else None."""
    if len(given) < 2 or not isinstance(given[0], Tensor) or not isinstance(given[1], Tensor):
        return None
    output, target = local(given[0].detach()), local(given[1].detach())
    fits = output.device == target.device and output.layout == target.layout == torch.strided
    if not fits or not output.is_floating_point() or not target.dim() or not 0 < output.numel() <= MOST_ELEMENTS:
        return None
    return (output, target) if target.numel() else None


def settings_of(criteria: Sequence[Any]) -> Settings:
    """What the only watched criterion says about itself; the usual settings without one."""
    if len(criteria) != 1:  # of several nobody says which one it was
        return Settings()
    one = criteria[0]
    weight, ignored = getattr(one, "weight", None), getattr(one, "ignore_index", None)
    return Settings(
        weight=weight if isinstance(weight, Tensor) else None,
        ignore_index=ignored if isinstance(ignored, int) else -100,
        smoothing=float(getattr(one, "label_smoothing", 0.0) or 0.1),
        pos_weight=one.pos_weight if isinstance(one, nn.BCEWithLogitsLoss) else None,
        beta=one.beta if isinstance(one, nn.SmoothL1Loss) else 1.0,
        delta=one.delta if isinstance(one, nn.HuberLoss) else 1.0,
    )
