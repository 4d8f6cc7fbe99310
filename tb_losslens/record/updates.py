"""Sees each optimiser step: learning rates, and the gradients as the optimiser gets them, after any clipping."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tb_losslens.record.collectors import Collectors
from tb_losslens.record.evaluations import writes
from tb_losslens.record.gradient_norms import GradientNorms
from tb_losslens.record.guard import Guard
from tb_losslens.record.hook import Hook, ShortHook
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_start import STEP, STEPPED
from tb_losslens.record.measures import parameters_of, unscaled
from tb_losslens.record.recorder import Recorder


class Updates:
    """The optimisers: those that were named, else the first that steps while a wrapped loader is iterated.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
        collectors: are told about steps.
        lane: the short way for plain steps.
        norms: of the gradients at the end of the last backward.
        found: called with an optimiser that nobody named and that is ours, before its step.
        restored: called with "optimizer" and its class when a state was loaded into it.
        stepped: called after the first collector of each step.
    """

    def __init__(
        self,
        guard: Guard,
        recorder: Callable[[], Recorder | None],
        collectors: Collectors,
        lane: Lane,
        norms: GradientNorms,
        *,
        found: Callable[[Optimizer], None],
        restored: Callable[[str, str], None],
        stepped: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._recorder = recorder
        self._collectors = collectors
        self._lane = lane
        self._norms = norms
        self._on_found = found
        self._on_restored = restored
        self._on_stepped = stepped
        self._handles: dict[int, Any] = {}
        self._parameters: dict[int, frozenset[int]] = {}
        self._foreign: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self.optimizers: list[Optimizer] = []
        self.named = False
        self._global = [
            register_optimizer_step_pre_hook(ShortHook(self._begins, lane, lane.step)),
            register_optimizer_step_post_hook(ShortHook(self._ends, lane, lane.stepped)),
        ]

    def add(self, optimizer: Optimizer) -> None:
        """Watches the steps of `optimizer`."""
        self.optimizers.append(optimizer)
        self._foreign.discard(optimizer)  # it was one of others until now
        self._parameters[id(optimizer)] = _identities(optimizer)
        self._handles[id(optimizer)] = optimizer.register_load_state_dict_post_hook(Hook(self._loaded))

    def remove(self, optimizer: Optimizer) -> None:
        """Does not watch `optimizer` any more."""
        self.optimizers = [known for known in self.optimizers if known is not optimizer]
        self._parameters.pop(id(optimizer), None)
        handle = self._handles.pop(id(optimizer), None)
        if handle is not None:
            handle.remove()

    def close(self) -> None:
        """Takes the global hooks off."""
        for handle in self._global:
            handle.remove()
        self._global = []

    def sharing(self, optimizer: Optimizer) -> list[Optimizer]:
        """The watched optimisers that have a parameter in common with `optimizer`."""
        mine = _identities(optimizer)
        return [known for known in self.optimizers if self._parameters[id(known)] & mine]

    def parameters(self) -> Iterable[Tensor]:
        """All parameters of all watched optimisers."""
        return (p for optimizer in self.optimizers for p in parameters_of(optimizer))

    def writes(self) -> tuple[int, ...]:
        """How often their parameters were written to: see `Evaluations`."""
        return writes(self.parameters())

    def rates(self) -> dict[str, Any]:
        """Learning rate of every parameter group by column name: `lr`, `lr.1`, ...; tensors as they are."""
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        return {f"lr.{i}" if i else "lr": group["lr"] for i, group in enumerate(groups) if "lr" in group}

    def plain_rates(self) -> dict[str, float]:
        """The same, those that can be read without waiting for a device."""
        rates = self.rates()
        return {name: float(rate) for name, rate in rates.items() if not isinstance(rate, Tensor) or rate.device.type == "cpu"}

    # --- hooks ------------------------------------------------------------------------------------------------------

    def _begins(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        if optimizer not in self._foreign:
            self._lane.leave()
            self._guard.call("optimizer step", self._step, optimizer)

    def _ends(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        recorder = self._recorder()
        if recorder is not None and id(optimizer) in self._parameters:
            self._lane.leave()
            self._guard.call("optimizer step", self._stepped, recorder, optimizer)

    def replay(self, optimizer: Optimizer, rates: dict[str, float]) -> None:
        """The begin of a step that the short way had noted, for a sparse row."""
        recorder = self._recorder()
        row = recorder.steps.step_begins(id(optimizer), named=self.named) if recorder is not None else None
        if recorder is not None and row is not None:
            recorder.put(row, rates)

    def _stepped(self, recorder: Recorder, optimizer: Optimizer) -> None:
        self._lane.saw(STEPPED)
        row = recorder.steps.current
        if row is not None:
            self._collectors.tell("step_ends", row, optimizer)
        recorder.steps.step_ends()

    def _loaded(self, optimizer: Optimizer) -> None:
        self._guard.call("restore", self._on_restored, "optimizer", type(optimizer).__name__)

    def _step(self, optimizer: Optimizer) -> None:
        recorder = self._recorder()
        if recorder is None or not self._is_ours(optimizer, recorder):
            return
        self._on_stepped()
        row = recorder.steps.step_begins(id(optimizer), named=self.named)
        if row is None:
            return
        self._lane.saw(STEP, optimizer)
        values = {name: rate for name, rate in self.rates().items() if name not in row.values}
        self._collectors.tell("step_begins", row, optimizer)
        parameters = parameters_of(optimizer) if row.dense else ()
        norm = self._norms.at_step([p.grad for p in parameters if p.grad is not None])
        if norm is not None:
            # of an optimiser that divides by the AMP scale itself
            values["grad_norm_at_step"] = unscaled(norm, getattr(optimizer, "grad_scale", None))
        recorder.put(row, values)

    def _is_ours(self, optimizer: Optimizer, recorder: Recorder) -> bool:
        if id(optimizer) in self._parameters:
            return True
        shared = self.sharing(optimizer)
        if shared and recorder.steps.is_inside(shared):
            return False  # it is a part of an optimiser whose step is on, as of one that evaluates the loss twice
        if shared or (not self.optimizers and (recorder.steps.driven or recorder.steps.bare.found)):
            self._on_found(optimizer)
            return True
        if self.optimizers:
            self._foreign.add(optimizer)
        else:
            recorder.steps.bare.stepped(id(optimizer))
        return False


def _identities(optimizer: Optimizer) -> frozenset[int]:
    return frozenset(map(id, parameters_of(optimizer)))
