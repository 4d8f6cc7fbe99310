"""Mean, deviation and bad elements of what the model was given."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tb_losslens.record.collector import Collector
from tb_losslens.record.measures import first_floating, input_moments
from tb_losslens.record.row import Row


class InputMoments(Collector):
    """`input_mean`, `input_std`, `input_nonfinite` of the first floating input."""

    name = "statistics of the inputs"

    def inputs_given(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See `Collector`."""
        self.tell(row, moments_of((args, kwargs) if kwargs else args))


def moments_of(inputs: Any) -> dict[str, Tensor | float]:
    """The moments of the first floating tensor in nested arguments; empty without one."""
    tensor = first_floating(inputs)
    return input_moments(tensor) if tensor is not None else {}
