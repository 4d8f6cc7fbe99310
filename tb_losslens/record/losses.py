"""Sees each call of the criterion, and the gradients at the end of each backward, before anything clips them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from tb_losslens.record.backward_use import ACCUMULATES, ELSEWHERE, RETURNS, inside_backward, is_last_backward, use_of_backward
from tb_losslens.record.batch import describe_targets
from tb_losslens.record.collectors import Collectors
from tb_losslens.record.gradient_marks import Marks, are_same, marks_of
from tb_losslens.record.gradient_norms import GradientNorms
from tb_losslens.record.guard import Guard
from tb_losslens.record.hook import Hook, ShortHook
from tb_losslens.record.host_view import host_view
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_start import CRITERION
from tb_losslens.record.measures import unscaled
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.row import Row


class Losses:
    """The watched criteria and the backwards of what they return.

    The norm is read in a callback that the autograd engine runs at the end of the backward. It is queued by a hook
    on the loss, or on the model's output where the loss cannot be seen.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
        parameters: gives the parameters whose gradients count.
        collectors: are told about criterion calls and backwards.
        lane: the short way for plain steps.

    Attributes:
        criteria: what is watched.
        norms: of the gradients, from the end of a backward to the step.
        scaler: the AMP gradient scaler, or None.
    """

    def __init__(
        self,
        guard: Guard,
        recorder: Callable[[], Recorder | None],
        parameters: Callable[[], Iterable[Tensor]],
        collectors: Collectors,
        lane: Lane,
    ) -> None:
        self._guard = guard
        self._recorder = recorder
        self._parameters = parameters
        self._collectors = collectors
        self._lane = lane
        self._handles: dict[int, Any] = {}
        self._backward, self._use = -1, ACCUMULATES
        self._loss_hook, self._output_hook = Hook(self._loss_begins), Hook(self._begins)
        self._loss_seen = False
        self.criteria: list[nn.Module] = []
        self._marks: Marks = []
        self.norms = GradientNorms()
        self.scaler: Any = None
        self._paused = False

    def add(self, criterion: nn.Module) -> None:
        """Watches the calls of `criterion`."""
        self.criteria.append(criterion)
        hook = ShortHook(self._called, self._lane, self._lane.called)
        self._handles[id(criterion)] = criterion.register_forward_hook(hook, with_kwargs=True)

    def remove(self, criterion: nn.Module) -> None:
        """Does not watch `criterion` any more."""
        self.criteria = [known for known in self.criteria if known is not criterion]
        handle = self._handles.pop(id(criterion), None)
        if handle is not None:
            handle.remove()

    def expect(self, loss: Tensor) -> None:
        """Sees the backward of `loss`."""
        loss.register_hook(self._loss_hook)  # type: ignore[no-untyped-call]

    def expect_output(self, output: Tensor) -> None:
        """Sees the backward through the output of a model; not needed where that of the loss itself was seen last time."""
        if not self._loss_seen:
            output.register_hook(self._output_hook)  # type: ignore[no-untyped-call]
        self._loss_seen = False

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Calls inside are not those of a training or validation."""
        self._lane.leave()  # which does not ask
        paused, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = paused

    # --- criterion --------------------------------------------------------------------------------------------------

    def _called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._paused or not isinstance(output, Tensor) or inside_backward():
            return
        if output.numel() and any(module is known for known in self.criteria):
            self._lane.leave()
            self._guard.call("criterion", self._criterion, module, (*args, *kwargs.values()), output)

    def _criterion(self, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        size, loss = size_of(given), output.detach()
        mean = loss.mean() if loss.dim() else loss
        value: float | Tensor = mean.item() if mean.device.type == "cpu" else mean
        validation = recorder.validations.of_loss(gradients=torch.is_grad_enabled())
        if validation is not None:
            validation.loss(value, size)
            self._collectors.validation("heldout_criterion_called", given)
            return
        row = recorder.steps.criterion(value, size) if torch.is_grad_enabled() else None
        if row is None:
            return
        self._lane.saw(CRITERION, module)
        if not row.aside:
            self._loss_of(row, value, loss, given)
            self._collectors.tell("criterion_called", row, given, output)
        if output.requires_grad:
            self.expect(output)

    def _loss_of(self, row: Row, value: float | Tensor, loss: Tensor, given: tuple[Any, ...]) -> None:
        recorder = self._recorder()
        assert recorder is not None
        if not isinstance(value, Tensor) and recorder.steps.is_unusual(row, value):
            self._collectors.late(row)
            if row.batch is not None and len(given) > 1 and isinstance(given[1], Tensor):
                row.batch.targets = describe_targets(given[1])
        if loss.dim() == 1 and loss.device.type == "cpu":
            row.lists.setdefault("per_sample", host_view(loss.float()).copy())
        if row.batch is None:
            row.values.setdefault("batch_size", size_of(given))
        if len(given) > 1 and isinstance(given[1], Tensor):
            self._targets(row, given[1])

    @staticmethod
    def _targets(row: Row, target: Tensor) -> None:
        if target.requires_grad:
            return  # what the model said, in the place of the target
        if row.batch is None:
            row.take_targets(describe_targets(target))
        elif not row.released and len(row.pending) == 1 and not row.losses:  # later calls may be for another task
            if row.batch.target is None:  # a loader of inputs alone, as of an autoencoder: the loop makes the targets of them
                given = describe_targets(target) if row.dense and not row.batch.targets.columns else None
            else:
                given = row.batch.targets_given(target)
            if given is not None:
                row.take_targets(given)

    # --- backward ---------------------------------------------------------------------------------------------------

    def _begins(self, gradient: Tensor) -> None:  # noqa: ARG002 - torch's signature
        self._guard.call("gradient norm", self._queue, False)

    def _loss_begins(self, gradient: Tensor) -> None:  # noqa: ARG002 - torch's signature
        self._loss_seen = True
        self._guard.call("gradient norm", self._queue, True)

    def _queue(self, of_loss: bool) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        backward = torch._C._current_graph_task_id()
        first = backward != self._backward  # the hooks on loss and output are both in it
        if first:
            self._backward, self._use = backward, use_of_backward()
        if self._use == ELSEWHERE:  # of the inputs: for an adversarial example, a saliency map, or a penalty on them
            row = recorder.steps.current
            if of_loss and row is not None and is_last_backward():
                row.drop_loss()
            return
        row = recorder.steps.backward(returns=self._use == RETURNS)
        if row is not None and row.more:
            recorder.several_losses(1 + row.more)
        if first and self._use == ACCUMULATES:  # else what is in `.grad` is of another time
            if row is not None:
                self._marks = marks_of(self._parameters()) if row.dense else []
                self._collectors.tell("backward_begins", row)
            Variable._execution_engine.queue_callback(self._ends_here)

    def _ends_here(self) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # DDP and FSDP bring the gradients of all processes in with callbacks of their own, queued after this one
            Variable._execution_engine.queue_callback(self._ends)
        else:
            self._ends()

    def _ends(self) -> None:
        self._guard.call("gradient norm", self._norm)

    def _norm(self) -> None:
        recorder = self._recorder()
        row = recorder.steps.current if recorder is not None else None
        if recorder is None or row is None:
            return
        if row.dense and are_same(self._marks, marks_of(self._parameters())):
            return  # it was the backward of another model: what stands in these gradients is of another batch
        self.norms.forget()
        self._collectors.tell("backward_ends", row)
        if not row.dense:
            return
        gradients = [p.grad for p in self._parameters() if p.grad is not None]
        norm = self.norms.total(gradients)
        self.norms.settle(gradients)  # something may clip them now
        if norm is not None:
            # a tensor once the scaler was used; read without waiting for it
            recorder.put(row, {"grad_norm": unscaled(norm, getattr(self.scaler, "_scale", None))})


def size_of(given: tuple[Any, ...]) -> int:
    """Samples among the arguments of a criterion, -1 where unknown."""
    return given[0].size(0) if given and isinstance(given[0], Tensor) and given[0].dim() else -1
