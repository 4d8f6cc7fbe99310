"""Answers whether parameters or buffers are the same bits at two moments: two epochs, the ends of a validation, a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from tb_losslens.record.collector import Collector
from tb_losslens.record.late_fields import LateFields
from tb_losslens.record.measures import unwrapped
from tb_losslens.record.sharded import named_parameters
from tb_losslens.record.signals.bit_sum import BITS, bit_sum, fold

MOST_REASONS = 8
"""Tensors that are named among those left out."""


@dataclass
class Checksum:
    """Checksum of named tensors, by their bits, names and order.

    Attributes:
        value: 52 bits: an int, or a 0-d int64 tensor where they are not on the CPU; None without any tensor that can be read.
        skipped: tensors left out: name to reason.
    """

    value: int | Tensor | None
    skipped: dict[str, str] = field(default_factory=dict)


def checksum(named: Iterable[tuple[str, Tensor]]) -> Checksum:
    """Checksum of tensors in their order; those without numbers are left out, with the reason. Waits for no device."""
    total: int | Tensor | None = None
    skipped: dict[str, str] = {}
    for place, (name, tensor) in enumerate(named):
        try:
            part = bit_sum(f"{place}|{name}", tensor)
        except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
            # a subclass of a tensor may refuse any of these operations
            skipped[name] = str(error).split("\n", maxsplit=1)[0][:120]
            continue
        if isinstance(total, Tensor) and isinstance(part, Tensor):
            part = part.to(total.device)
        total = part if total is None else total + part
    if total is None:
        return Checksum(None, skipped)
    return Checksum(fold(total if isinstance(total, Tensor) else total % (1 << 64)), skipped)


class Checksums(Collector):
    """Checksums of all parameters, and of all buffers, at both ends of each epoch; `now` gives them at any other moment.

    A field is 13 hexadecimal digits. Where the numbers are on a device, an epoch's record would have to wait for it: its
    checksums then come with a later record, in `late_checksums`, a list of {"at", "epoch", "parameters", "buffers"}.

    Args:
        models: gives the watched models.
    """

    dear_ends = exact_ends = True
    name = "checksum of the parameters"

    def __init__(self, models: Callable[[], Iterable[nn.Module]]) -> None:
        self._models = models
        self._late = LateFields("late_checksums", _hex)

    def epoch_begins(self, epoch: int) -> dict[str, Any]:
        """`parameters`, `buffers`, `checksum_skipped` where something had to be left out, and `late_checksums`."""
        return self._fields({"at": "epoch_begin", "epoch": epoch})

    def epoch_ends(self, epoch: int) -> dict[str, Any]:
        """The same."""
        return self._fields({"at": "epoch_end", "epoch": epoch})

    def validation_begins(self, epoch: int) -> dict[str, Any]:
        """The same: weights that a validation changes differ at its ends."""
        return self.now("validation_begin", epoch)

    def validation_ends(self, epoch: int) -> dict[str, Any]:
        """The same."""
        return self.now("validation_end", epoch)

    def now(self, at: str, epoch: int = -1) -> dict[str, Any]:
        """The same fields for another record, such as the begin and the end of a validation; `at` is its kind."""
        return self._fields({"at": at, "epoch": epoch})

    def late(self) -> list[dict[str, Any]]:
        """What devices still owed and have computed by now."""
        return self._late.ready()

    def _fields(self, at: dict[str, Any]) -> dict[str, Any]:
        models = [unwrapped(model) for model in self._models()]
        if not models:
            return {}
        sums = {
            "parameters": checksum((f"{i}.{key}", p) for i, model in enumerate(models) for key, p in named_parameters(model)),
            "buffers": checksum((f"{i}.{key}", b) for i, model in enumerate(models) for key, b in model.named_buffers()),
        }
        fields = self._late.take(at, {name: total.value for name, total in sums.items() if total.value is not None})
        skipped = {name: why for total in sums.values() for name, why in total.skipped.items()}
        if skipped:
            fields["checksum_skipped"] = dict(list(skipped.items())[:MOST_REASONS])
        return fields


def _hex(value: float) -> str:
    return f"{int(value):0{BITS // 4}x}"
