"""The probe: the same two batches, evaluated around each epoch boundary.

Between the last update of an epoch and the first of the next no weight should change. The loss of a batch that never
changes either tells what did: something in the model's state, the data, or the next updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch
from tb_losslens.record.collector import Collector
from tb_losslens.record.measures import unwrapped
from tb_losslens.record.probe.batch import ProbeBatch, Unfit
from tb_losslens.record.probe.budget import ALL, FEW, NONE, ProbeBudget
from tb_losslens.record.probe.evaluation import Loss, device_of, is_lazy, losses, probed
from tb_losslens.record.probe.intake import ProbeIntake
from tb_losslens.record.row import Row
from tb_losslens.record.sharded import named_parameters
from tb_losslens.record.signals.bit_sum import BITS
from tb_losslens.record.signals.checksum import checksum

AFTER_UPDATES = (1, 2, 5)
"""Updates into an epoch after which it is looked at; the later ones are dropped first."""


class Probe(Collector):
    """Evaluates a batch of training and one of held-out samples, and records a `probe` event each time.

    At the end of an epoch (t0), at the begin of the next, right before its first forward (t1), before and after each
    validation, and 1, 2 and 5 updates into an epoch (u1, u2, u5). Both in evaluation mode and with BatchNorm on the statistics
    of the batch.

    The model is called itself, so that forward hooks of the user's own on it are called as well: without them it might
    compute something else. What they, or a module, keep in places of their own (a file, a counter in another object)
    is theirs; `traceless` says what is put back.

    Args:
        train: batch of training samples; None: the first one that is trained on.
        heldout: batch of held-out samples; None: the first one of a validation.
        loss_fn: `loss_fn(output, target)`; None: the watched criterion.
        models: gives the watched models.
        criteria: gives the watched criteria.
        paused: nothing that is called inside belongs to the training.
        record: called with the kind of a record, its text and its fields.
        warn: called with a sentence.
        took: called with the seconds of each evaluation.
        budget: how much time it may take.
    """

    name = "probe"
    each_step = exact_ends = True
    asleep = True  # the first delivery is of a dense row

    def __init__(
        self,
        train: ProbeBatch | None,
        heldout: ProbeBatch | None,
        loss_fn: Loss | None,
        *,
        models: Callable[[], Sequence[nn.Module]],
        criteria: Callable[[], Iterable[nn.Module]],
        paused: Callable[[], AbstractContextManager[None]],
        record: Callable[[str, str, dict[str, Any]], None],
        warn: Callable[[str], None],
        took: Callable[[float], None] = lambda _: None,
        budget: ProbeBudget | None = None,
    ) -> None:
        self.budget = budget or ProbeBudget()
        self._intake = ProbeIntake({"train": train, "heldout": heldout}, loss_fn, criteria)
        self._models = models
        self._paused = paused
        self._record = record
        self._warn = warn
        self._took = took
        self._depth = ALL
        self._between = False
        self._validation = False
        self._since = -1
        self._updates = 0
        self._epoch = -1
        self._said: set[str] = set()
        self._off = False

    def close(self) -> None:
        """Looks no more: the end of a recording may come from a signal, in the middle of anything."""
        self._off = True

    # --- what the training does -------------------------------------------------------------------------------------

    def delivered(self, batch: Batch, raw: Any) -> None:  # noqa: ARG002
        """Its targets may be needed."""
        self._take(self._intake.delivered, "train", raw)

    def forward_begins(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        """Remembers autocast, and takes the batch if there is none; the first call of an epoch stands for all."""
        models = self._models()
        if models and not self._off:
            self._intake.remember_autocast(device_of(models[0]), of_loss=False, again=not self._since)
            self._take(self._intake.called, "train", args, kwargs)

    def forward_ends(self, row: Row, output: Any) -> None:  # noqa: ARG002
        """Sees what came out of it."""
        self._take(self._intake.returned, "train", output)

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:  # noqa: ARG002
        """Sees what it is compared with."""
        self._intake.remember_autocast(loss.device, of_loss=True, again=not self._since)
        self._take(self._intake.compared, "train", given)

    def heldout_delivered(self, raw: Any) -> None:
        """A wrapped loader of held-out data delivered `raw`."""
        self._take(self._intake.delivered, "heldout", raw)

    def heldout_forward_begins(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called in a validation."""
        self._take(self._intake.called, "heldout", args, kwargs)

    def heldout_forward_ends(self, output: Any) -> None:
        """It returned."""
        self._take(self._intake.returned, "heldout", output)

    def heldout_criterion_called(self, given: tuple[Any, ...]) -> None:
        """A watched criterion was called in a validation."""
        self._take(self._intake.compared, "heldout", given)

    def _take(self, function: Callable[..., None], *what: Any) -> None:
        if self._off:
            return
        try:
            function(*what)
        except Unfit as reason:
            self._stop(str(reason))

    # --- when it looks ----------------------------------------------------------------------------------------------

    def epoch_ends(self, epoch: int) -> None:
        """t0: after the last update."""
        self._decide()
        self._between, self._since, self._epoch = True, -1, epoch
        self._look("t0", epoch)

    def epoch_begins(self, epoch: int) -> None:
        """t1: before the first update."""
        self._between, self._since, self._epoch = False, 0, epoch
        self._look("t1", epoch)

    def unread(self, kind: str, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """The boundary is told after an update: what comes is compared with nothing."""
        self._between, self._since, self._epoch = False, -1, epoch

    @property
    def pending(self) -> bool:  # type: ignore[override]
        """True until the last look after an update."""
        return self._since >= 0

    def passed(self, steps: int, *, inside: bool) -> None:  # noqa: ARG002
        """Plain steps are one update each."""
        self._updates += steps

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002
        """u1, u2, u5."""
        self._updates += 1
        if self._since < 0:
            return
        self._since += 1
        if self._since in AFTER_UPDATES[: 1 if self._depth == FEW else None]:
            self._look(f"u{self._since}", self._epoch)
        if self._since >= AFTER_UPDATES[-1]:
            self._since = -1

    def validation_begins(self, epoch: int) -> None:
        """Before a validation; one in the middle of an epoch has a decision of its own."""
        self._validation = self._depth != NONE if self._between else self.budget.validation()
        if self._validation:
            self._look("before_validation", epoch, anyway=True)

    def validation_ends(self, epoch: int) -> None:
        """After it."""
        if self._validation:
            self._validation = False
            self._look("after_validation", epoch, anyway=True)

    def _decide(self) -> None:
        before, self._depth = self._depth, self.budget.boundary()
        if self._depth in (before, ALL) or self._depth in self._said or self._off:
            return
        self._said.add(self._depth)
        fewer = "u2 and u5 are left out" if self._depth == FEW else "only some boundaries are looked at"
        self._record(
            "note",
            f"probe: {fewer} from here on where the time for them is not there: an evaluation takes "
            f"{self.budget.each:.3g} s, and the probe may take {100 * self.budget.share:g} % of the run",
            {"about": "probe", "each": self.budget.each, "share": self.budget.share, "depth": self._depth},
        )

    # --- one look ---------------------------------------------------------------------------------------------------

    def _look(self, when: str, epoch: int, *, anyway: bool = False) -> None:
        if self._off or (self._depth == NONE and not anyway):
            return
        start = perf_counter()
        try:
            fields = self._evaluate()
        except Unfit as reason:
            self._stop(str(reason))
            return
        except Exception as error:
            self._off = True
            self._record("note", f"probe: ends here ({type(error).__name__}: {error})"[:400], {"about": "probe"})
            raise
        if fields is None:
            return
        seconds = perf_counter() - start
        self.budget.took(seconds)
        self._took(seconds)
        head = {"when": when, "epoch": epoch, **fields}
        self._record("probe", "", {**head, "updates": self._updates, "seconds": round(seconds, 6)})
        if self.budget.exceeded and self._depth != NONE:
            self._skip(seconds)

    def _evaluate(self) -> dict[str, Any] | None:
        """The losses and the checksum; None while something is still to come."""
        models = self._models()
        if len(models) != 1:
            raise Unfit(f"{len(models)} models are watched, and it takes one: writer.watch(model)")
        if is_lazy(unwrapped(models[0])):
            self._say("lazy", "probe: not yet, the model is lazy and was never called")
            return None
        model = probed(models[0])
        batches, loss = self._intake.batches, self._intake.loss
        if not batches or loss is None:
            if self._updates:
                self._say("batch", "probe: not yet, no batch was seen: set_probe(train_batch=(inputs, targets), loss_fn=...)")
            return None
        of_model, of_loss = self._intake.autocast(device_of(model))
        with self._paused():
            found = losses(model, batches, loss, autocast=of_model, autocast_of_loss=of_loss)
        total = checksum((f"0.{name}", p) for name, p in named_parameters(model)).value
        names = [f"{name}_{mode}" for name in ("train", "heldout") for mode in ("eval", "batchstat")]
        return {
            **{name: found.get(name) for name in names},
            "parameters": None if total is None else f"{int(total):0{BITS // 4}x}",
        }

    def _skip(self, seconds: float) -> None:
        """One evaluation took more than all may take: no further one of this boundary, nor of a validation that is on."""
        self._depth, self._validation = NONE, False
        if NONE in self._said:
            return
        self._said.add(NONE)
        budget = self.budget
        self._record(
            "note",
            f"probe: skipped where the time for it is not there: one evaluation takes {seconds:.3g} s, and all together may "
            f"take {budget.grant:g} s and {100 * budget.share:g} % of the run. Smaller batches take less: "
            "set_probe(train_batch=(inputs, targets), heldout_batch=...)",
            {"about": "probe", "each": seconds, "share": budget.share, "depth": NONE},
        )

    def _stop(self, reason: str) -> None:
        self._off = True
        self._record("note", f"probe: none, {reason}", {"about": "probe"})
        self._warn(f"the probe is off: {reason}")

    def _say(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._record("note", text, {"about": "probe"})
