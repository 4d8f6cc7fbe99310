"""Tells a loss that is evaluated again within one step, at other weights, from the loss of a further batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from torch import Tensor
from torch.nn.parameter import is_lazy

from tb_losslens.record.row import Row

LOOKED_AT = 8
"""Parameters whose changes are looked at: an update writes to all of them, a layer that renormalises itself only to its own."""


def writes(parameters: Iterable[Tensor]) -> tuple[int, ...]:
    """How often the first trained parameters were written to, in place; what writes to their `.data` is not counted."""
    trained = (p for p in parameters if p.requires_grad and not is_lazy(p) and not p.is_inference())
    return tuple(p._version for p in islice(trained, LOOKED_AT))


class Evaluations:
    """Which calls of a step are evaluations at other weights.

    Gradients are accumulated at the same weights. An optimiser that evaluates the loss several times for one step moves the
    weights in between: sharpness-aware minimisation (Foret et al. 2021) twice, LBFGS with each call of its closure. The loss of
    the step is the first one, that of the weights that the step began with.

    Attributes:
        writes: gives a tuple that changes in all places when the weights do; empty where they are not known.
        expects_step: true if an optimiser was named whose step ends each batch.
        steps: a step of an optimiser was seen.
    """

    def __init__(self) -> None:
        self.writes: Callable[[], tuple[int, ...]] = tuple
        self.expects_step: Callable[[], bool] = lambda: False
        self.steps = self._blind = False

    def stepped(self) -> None:
        """A step of an optimiser is seen: weights that change without one have been moved aside."""
        self.steps = True

    def is_aside(self, row: Row) -> bool:
        """True if a call that belongs to `row` is made at other weights than its first one."""
        now = self.writes()
        if row.writes is None:
            row.writes = now
            return False
        aside = bool(now) and len(now) == len(row.writes) and all(a != b for a, b in zip(now, row.writes, strict=True))
        row.aside = row.aside or aside
        return aside

    def goes_on(self, row: Row) -> bool:
        """True if a call after a backward still belongs to the step of `row`, which no loader tells: its weights are aside.

        An optimiser whose steps nobody sees changes the weights as well. Until a step was seen, one such call is believed.
        """
        if not row.backward or row.stepped or row.logged or row.writes is None:
            return False
        known = row.aside
        if not self.is_aside(row):
            return False
        self._blind = self._blind or (known and not self.steps)
        return self.steps or not self._blind
