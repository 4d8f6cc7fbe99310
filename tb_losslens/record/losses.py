"""Sees each call of the criterion, and the gradients at the end of each backward, before anything clips them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from tb_losslens.record.batch import describe_targets
from tb_losslens.record.guard import Guard
from tb_losslens.record.hook import Hook
from tb_losslens.record.measures import gradients_of, total_norm, unscaled
from tb_losslens.record.recorder import Recorder


class Losses:
    """The watched criteria and the backwards of what they return.

    The norm is read in a callback that the autograd engine runs at the end of the backward. It is queued by a hook
    on the loss, or on the model's output where the loss cannot be seen.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
        parameters: gives the parameters whose gradients count.
    """

    def __init__(
        self, guard: Guard, recorder: Callable[[], Recorder | None], parameters: Callable[[], Iterable[Tensor]]
    ) -> None:
        self._guard = guard
        self._recorder = recorder
        self._parameters = parameters
        self._handles: dict[int, Any] = {}
        self._backward = -1
        self._loss_hook, self._output_hook = Hook(self._loss_begins), Hook(self._begins)
        self._loss_seen = False
        self.criteria: list[nn.Module] = []
        self.scaler: Any = None

    def add(self, criterion: nn.Module) -> None:
        """Watches the calls of `criterion`."""
        self.criteria.append(criterion)
        self._handles[id(criterion)] = criterion.register_forward_hook(Hook(self._called), with_kwargs=True)

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

    # --- criterion --------------------------------------------------------------------------------------------------

    def _called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.numel() and any(module is known for known in self.criteria):
            self._guard.call("criterion", self._criterion, (*args, *kwargs.values()), output)

    def _criterion(self, given: tuple[Any, ...], output: Tensor) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        size = int(given[0].shape[0]) if given and isinstance(given[0], Tensor) and given[0].dim() else -1
        loss = output.detach()
        mean = loss.mean() if loss.dim() else loss
        value: float | Tensor = mean.item() if mean.device.type == "cpu" else mean
        validation = recorder.validations.of_call(gradients=torch.is_grad_enabled())
        if validation is not None:
            validation.loss(value, size)
            return
        row = recorder.steps.criterion(value, size) if torch.is_grad_enabled() else None
        if row is None:
            return
        if loss.dim() == 1 and loss.device.type == "cpu":
            row.lists.setdefault("per_sample", loss.float().numpy().copy())
        if row.batch is None:
            row.values.setdefault("batch_size", size)
            if len(given) > 1 and isinstance(given[1], Tensor):
                row.take_targets(describe_targets(given[1]))
        if output.requires_grad:
            self.expect(output)

    # --- backward ---------------------------------------------------------------------------------------------------

    def _begins(self, gradient: Tensor) -> None:  # noqa: ARG002 - torch's signature
        self._guard.call("gradient norm", self._queue)

    def _loss_begins(self, gradient: Tensor) -> None:
        self._loss_seen = True
        self._begins(gradient)

    def _queue(self) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        recorder.steps.backward()
        backward = torch._C._current_graph_task_id()
        if backward != self._backward:  # the hooks on loss and output are both in it
            self._backward = backward
            Variable._execution_engine.queue_callback(self._ends)

    def _ends(self) -> None:
        self._guard.call("gradient norm", self._norm)

    def _norm(self) -> None:
        recorder = self._recorder()
        row = recorder.steps.current if recorder is not None else None
        if recorder is None or row is None:
            return
        norm = total_norm(gradients_of(self._parameters()))
        if norm is not None:
            # a tensor once the scaler was used; read without waiting for it
            recorder.put(row, {"grad_norm": unscaled(norm, getattr(self.scaler, "_scale", None))})
