"""Sees each call of a watched model: what it was given, in which mode, and what came out.

Only the outermost callable is hooked: a hook inside a compiled region would break its graph.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tb_losslens.record import compiled
from tb_losslens.record.backward_use import inside_backward
from tb_losslens.record.batch import storages_of, tensors_of
from tb_losslens.record.collectors import Collectors
from tb_losslens.record.given import is_learned, take_inputs
from tb_losslens.record.guard import Guard
from tb_losslens.record.hook import Hook, ShortHook
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_start import FORWARD
from tb_losslens.record.measures import batch_counters, first_floating, training_share, unwrapped
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.sharded import named_parameters
from tb_losslens.record.signals.inputs import moments_of


class Forwards:
    """The watched models.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
        output: called with an output that has a gradient, in training.
        restored: called with "model" and its class when a state was loaded into it.
        collectors: are told about calls in training.
        lane: the short way for plain steps.

    Attributes:
        models: what is watched.
        paused: calls are not those of a training or validation.
    """

    def __init__(
        self,
        guard: Guard,
        recorder: Callable[[], Recorder | None],
        output: Callable[[Tensor], None],
        restored: Callable[[str, str], None],
        *,
        collectors: Collectors,
        lane: Lane,
    ) -> None:
        self._guard = guard
        self._recorder = recorder
        self._on_output = output
        self._on_restored = restored
        self._collectors = collectors
        self._lane = lane
        self._handles: dict[int, list[Any]] = {}
        self.models: list[nn.Module] = []
        self.modules: list[nn.Module] = []
        self._counters: list[Tensor] = []
        self._depth = 0
        self._seen = 0
        self._looked_for_compiled = False
        self._trained_on: tuple[weakref.ref[Tensor], ...] = ()
        self.paused = False

    def add(self, model: nn.Module) -> None:
        """Watches the calls of `model`, and the loading of its state."""
        self._add(model)
        # of the user's own module: its state is loaded past `torch.compile` and DDP as well, and through them it comes here too
        restored = unwrapped(model).register_load_state_dict_post_hook(Hook(self._loaded))  # type: ignore[no-untyped-call]
        self._handles[id(model)].append(restored)

    def _add(self, model: nn.Module) -> None:
        self.models.append(model)
        named_parameters(unwrapped(model))  # remembered, for calls in which others stand in for them
        begins = ShortHook(self._begins, self._lane, self._lane.forward)
        self._handles.setdefault(id(model), []).extend(compiled.hook_calls(model, begins, Hook(self._ends)))
        self.refresh()

    def remove(self, model: nn.Module) -> None:
        """Does not watch `model` any more."""
        self.models = [known for known in self.models if known is not model]
        for handle in self._handles.pop(id(model), []):
            handle.remove()
        self.refresh()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Calls inside are not those of a training or validation, even within one that is."""
        self._lane.leave()  # which does not ask
        depth, paused = self._depth, self.paused
        self._depth, self.paused = 0, True
        try:
            yield
        finally:
            self._depth, self.paused = depth, paused

    def close(self) -> None:
        """Takes every hook off."""
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles = {}
        self.models = []

    def refresh(self) -> None:
        """Looks again which modules there are: a user may have replaced some."""
        self.modules = [module for model in self.models for module in unwrapped(model).modules()]
        self._counters = batch_counters(self.modules)

    def counter(self) -> float:
        """Updates of running statistics so far, the least of all layers; -1 without such a layer."""
        return float(self._count()) if self._counters else -1.0

    def check_seen(self) -> None:
        """An optimiser made a step: if no call was ever seen, the model was compiled after it was watched."""
        if self._seen or self._looked_for_compiled or not self.models:
            return
        self._looked_for_compiled = True
        for model in list(self.models):
            outer = compiled.outer_callable(model)
            if outer is not None:
                # its hooks stay until the end, unused: to take them off now would compile it once more
                self.models = [known for known in self.models if known is not model]
                self._add(outer)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def _watched(self, module: nn.Module) -> bool:
        return any(module is model for model in self.models)  # else a copy of one

    def _begins(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.paused or inside_backward():
            return
        if self._watched(module):
            self._lane.leave()
            self._depth += 1
            if self._depth == 1:
                self._guard.call("forward of the model", self._forward, module, args, kwargs)

    def _ends(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002 - torch's signature
        if self._depth and self._watched(module) and not inside_backward():
            self._depth -= 1
            if not self._depth:
                self._guard.call("output of the model", self._output, output)

    def _loaded(self, module: nn.Module, incompatible: Any) -> None:  # noqa: ARG002 - torch's signature
        if any(unwrapped(module) is unwrapped(model) for model in self.models):
            self._guard.call("restore", self._on_restored, "model", type(unwrapped(module)).__name__)

    # --- collectors -------------------------------------------------------------------------------------------------

    def _forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._seen += 1
        recorder = self._recorder()
        if recorder is None:
            return
        inputs = (args, kwargs) if kwargs else args
        gradients = torch.is_grad_enabled()
        mode = training_share(self.modules)
        validation = recorder.validations.of_call(gradients=gradients, mode=mode)
        if validation is not None:
            validation.forward(mode, self._moments(inputs), _size_of(inputs))
            self._collectors.validation("heldout_forward_begins", args, kwargs)
            return
        if not gradients:
            self._aside(recorder, mode, inputs)
            return
        row = recorder.steps.forward(lambda: storages_of(inputs))
        if row is None:
            return
        self._lane.saw(FORWARD, module)
        self._trained_on = tuple(weakref.ref(tensor) for tensor in tensors_of(inputs))
        if "train_mode" in row.values:  # another call for the same batch
            row.values["train_mode"] = mode if row.values["train_mode"] == mode else 0.5
        else:
            row.values["train_mode"] = mode
            self._collectors.tell("forward_begins", row, args, kwargs)
        take_inputs(recorder, self._collectors, row, args, kwargs)

    def replay(self, mode: float, inputs: weakref.ref[Tensor]) -> None:
        """A call that the short way had noted, for a sparse row: the share of training mode, and what the model was given."""
        recorder, tensor = self._recorder(), inputs()
        row = recorder.steps.forward(set) if recorder is not None else None
        if row is not None:
            self._trained_on = (inputs,) if tensor is not None else ()
            row.values["train_mode"] = mode
            row.given = tensor is not None and not is_learned(tensor)
            row.inputs = inputs if row.given else None

    def _aside(self, recorder: Recorder, mode: float, inputs: Any) -> None:
        """A call without gradients inside the training loop: a look at the batch, or a validation that nobody announced."""
        recorder.validations.forget()
        row = recorder.steps.current
        if mode or row is None:
            return
        storages = storages_of(inputs)
        alive = [tensor for tensor in (reference() for reference in self._trained_on) if tensor is not None]
        if storages & storages_of(alive) or (row.batch is not None and row.batch.is_made_of(storages)):
            return
        recorder.validations.suspect(mode, self._moments(inputs), _size_of(inputs))

    def _moments(self, inputs: Any) -> dict[str, Any]:
        return self._guard.call("statistics of the inputs", moments_of, inputs) or {}

    def _output(self, output: Any) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        row = recorder.steps.current
        if recorder.validations.open:
            self._held_out(recorder, self._collectors.validation("heldout_forward_ends", output))
            return
        if row is None or not torch.is_grad_enabled():
            return
        self._collectors.tell("forward_ends", row, output)
        if self._counters and row.dense:
            recorder.put(row, {"bn_updates": self._count()})
        tensor = first_floating(output)
        if tensor is not None and tensor.requires_grad:
            self._on_output(tensor)

    @staticmethod
    def _held_out(recorder: Recorder, said: dict[str, Any]) -> None:
        validation = recorder.validations.current
        if validation is not None and "loss" in said:
            validation.function_loss(said["loss"], said["size"])

    def _count(self) -> Tensor | float:
        if self._counters[0].device.type == "cpu":
            return float(min(counter.item() for counter in self._counters))
        return torch.stack(self._counters).min()


def _size_of(inputs: Any) -> int:
    return next((tensor.size(0) for tensor in tensors_of(inputs) if tensor.dim()), 1)
