"""What a collector of signals may be told about a step of training, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch
from tb_losslens.record.row import Row


class Collector:
    """Reads one family of signals. A subclass overrides the moments that it needs; those that it leaves alone cost nothing.

    Each call runs inside the recorder's guard: what raises here is named in one warning and switches this collector off.
    Nothing may be changed that the training can notice: no mode, gradient, buffer, random number, and no waiting for a
    device. Numbers are told with `self.tell(row, {...})`: floats, or 0-d tensors of any device, which are read when the
    device has them. A tensor that came from a loader is never held.

    The moments of a step are told for dense rows only (`row.dense`), unless `each_step` is set: a sparse row
    has none of the signals that cost something.

    Attributes:
        name: as a warning names it, in lower case: "layers", "optimizer state".
        each_step: told about sparse rows, too.
        deep: dear, and told only about deep rows (`row.deep`), a part of the dense ones.
        pending: must be told of the next row, too; else plain sparse steps may not be told at all, even to one of `each_step`.
        dear_ends: what it says at the ends of epochs is dear, and asked for only at the boundaries that a budget allows.
        exact_ends: what it says there is of the moment between two steps, and not asked for where that has passed.
        asleep: wants no deliveries for the time being.
        tell: puts numbers into a row; set by the recorder to which this is added.
    """

    name = ""
    each_step = False
    deep = False
    pending = False
    dear_ends = exact_ends = False
    asleep = False
    tell: Callable[[Row, Mapping[str, float | Tensor]], None]

    def passed(self, steps: int, *, inside: bool) -> None:
        """So many plain steps went by, of which nothing was told; `inside`: and the first part of the one that is on."""

    # --- a step -----------------------------------------------------------------------------------------------------

    def delivered(self, batch: Batch, raw: Any) -> None:
        """A wrapped loader of training data delivered `raw`; told for every batch, before anything is trained on it."""

    def forward_begins(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called with gradients: once a row, at the first call for its batch."""

    def inputs_given(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What that call was given, unless it is the output of something that learns; again at the call that gets the batch."""

    def forward_ends(self, row: Row, output: Any) -> None:
        """The model returned, with a graph."""

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:
        """A watched criterion returned `loss` (with its graph, any shape); `given` are its arguments, in order."""

    def targets_logged(self, row: Row, targets: Tensor) -> None:
        """`log_batch(targets=...)` was called for it; the loss of that call comes right after this."""

    def backward_begins(self, row: Row) -> None:
        """A backward through the loss or the output begins: gradients are still those from before it."""

    def backward_ends(self, row: Row) -> None:
        """The gradients of this backward are complete; nothing has clipped them yet."""

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:
        """An optimiser is about to change the weights."""

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:
        """It has changed them."""

    def completes(self, row: Row) -> None:
        """All its numbers are known, those of a device as well, and it is stored right after this.

        Numbers can be told of it, and no event recorded.
        """

    # --- a validation -----------------------------------------------------------------------------------------------

    def validation_begins(self, epoch: int) -> dict[str, Any] | None:
        """A validation is about to begin, after epoch `epoch` or in it: told before its first forward."""

    def validation_ends(self, epoch: int) -> dict[str, Any] | None:
        """Its loop has ended."""

    def heldout_delivered(self, raw: Any) -> None:
        """A wrapped loader of held-out data delivered `raw`."""

    def heldout_forward_begins(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called in a validation."""

    def heldout_forward_ends(self, output: Any) -> dict[str, Any] | None:
        """It returned; `loss` (0-d) and `size` of its batch, where these are known from there."""

    def heldout_criterion_called(self, given: tuple[Any, ...]) -> None:
        """A watched criterion was called in a validation; `given` are its arguments, in order."""

    # --- an epoch ---------------------------------------------------------------------------------------------------

    def epoch_begins(self, epoch: int) -> dict[str, Any] | None:
        """Fields for the `epoch_begin` record: told right before the first forward of the epoch, or its first row."""

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:
        """Fields for the `epoch_end` record: told after the last step of the epoch."""

    def unread(self, kind: str, epoch: int) -> dict[str, Any] | None:
        """Told in the place of `epoch_begins` and `epoch_ends` where these are not; `kind` is that of the record."""
