"""Keeps what the user names: model, optimiser, scheduler, criterion; and says when one of them was replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.collectors import Collectors
from tb_losslens.record.data_sets import DataSets
from tb_losslens.record.facts import criterion_facts, model_facts, optimizer_facts, scheduler_facts
from tb_losslens.record.forwards import Forwards
from tb_losslens.record.guard import Guard
from tb_losslens.record.lane import Lane
from tb_losslens.record.losses import Losses
from tb_losslens.record.measures import parameters_of, unwrapped
from tb_losslens.record.outside import OutsideSteps
from tb_losslens.record.probe.probe import Probe
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.replaced import Replaced
from tb_losslens.record.row import Row
from tb_losslens.record.signals.amp import LossScale
from tb_losslens.record.signals.catalogue import all_collectors
from tb_losslens.record.signals.config_snapshot import Objects
from tb_losslens.record.updates import Updates


class Watch:
    """The watched objects of one writer.

    Objects of one call stand side by side. One of a later call replaces what it takes the place of: a model or
    optimiser with the same parameters, or a model of the same class; any earlier criterion; a scheduler of the same optimiser.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
    """

    def __init__(self, guard: Guard, recorder: Callable[[], Recorder | None]) -> None:
        self._guard = guard
        self._recorder = recorder
        self._schedulers: list[Any] = []
        self._finding = False
        self._left: list[Optimizer] = []
        self._outside = OutsideSteps(guard.warn)
        self.data_sets = DataSets()
        self.probe: Probe | None = None
        self.collectors = Collectors(guard, self._put)
        self.lane = Lane(self, guard)
        self.losses = Losses(guard, recorder, self._parameters, self.collectors, self.lane)
        self.forwards = Forwards(
            guard, recorder, self.losses.expect_output, self._restored, collectors=self.collectors, lane=self.lane
        )
        self.updates = Updates(
            guard,
            recorder,
            self.collectors,
            self.lane,
            self.losses.norms,
            found=self._found,
            restored=self._restored,
            stepped=self._stepped,
        )
        self.collectors.add(Replaced(lambda: self.updates.optimizers, lambda: self.forwards.models, self._took_over))
        for collector in all_collectors(self, self._facts, self._note):
            self.collectors.add(collector)

    def add_models(self, models: list[nn.Module]) -> None:
        """Watches calls of these models."""
        new = _others(models, self.forwards.models)
        old = [known for known in self.forwards.models if any(_takes_place(model, known) for model in new)]
        self._take_models(new, old)

    def _take_models(self, new: list[nn.Module], old: list[nn.Module]) -> None:
        for model in old:
            self.forwards.remove(model)
        for model in new:
            self.forwards.add(model)
            self._say("model", model_facts, unwrapped(model), replaced=bool(old))
        kept = {id(p) for model in self.forwards.models for p in model.parameters()}
        gone = {id(p) for model in old for p in model.parameters()} - kept
        # what trained only them has nothing to train any more: its rates and gradients would be those of another time
        self._leave([one for one in self.updates.optimizers if all(id(p) in gone for p in parameters_of(one))])

    def _leave(self, optimizers: list[Optimizer]) -> None:
        for optimizer in optimizers:
            self.updates.remove(optimizer)
        self._left = optimizers or self._left

    def add_optimizers(self, optimizers: list[Optimizer], *, named: bool = True) -> None:
        """Watches steps of these optimisers."""
        new = _others(optimizers, self.updates.optimizers)
        old = {id(known): known for one in new for known in self.updates.sharing(one)}
        for optimizer in old.values():
            self.updates.remove(optimizer)
        another = bool(self._left) and not any(one is left for one in new for left in self._left)
        for optimizer in new:
            self.updates.add(optimizer)
            self._say("optimizer", optimizer_facts, optimizer, replaced=bool(old) or another)
        self._left = [] if new else self._left
        self.updates.named |= named and bool(optimizers)

    def add_criteria(self, criteria: list[Any]) -> None:
        """Watches calls of these criteria; the calls of a plain function cannot be seen, which is said."""
        new = _others(criteria, self.losses.criteria)
        old = list(self.losses.criteria) if new else []
        for criterion in old:
            self.losses.remove(criterion)
        for criterion in new:
            if isinstance(criterion, nn.Module):
                self.losses.add(criterion)
            else:
                self._guard.warn(
                    f"watch(criterion=...) got a function, {getattr(criterion, '__name__', '')}, whose calls cannot be "
                    "seen: use the module for it, such as nn.CrossEntropyLoss(), or writer.log_batch(loss)"
                )
            self._say("criterion", criterion_facts, criterion, replaced=bool(old))

    def add_schedulers(self, schedulers: list[Any]) -> None:
        """Notes the class and the numbers of these schedulers."""
        new = _others(schedulers, self._schedulers)
        self._take_schedulers(new, [one for one in self._schedulers if any(_same_optimizer(one, other) for other in new)])

    def found_schedulers(self, new: list[Any], beside: bool) -> None:
        """Takes schedulers that nobody named; `beside` those of the same optimiser, or in their place.

        Those of an optimiser that is watched no more have nothing to say either.
        """
        known = self._schedulers
        old = [] if beside else [one for one in known if any(_same_optimizer(one, other) for other in new)]
        old += [one for one in known if not any(getattr(one, "optimizer", None) is its for its in self.updates.optimizers)]
        self._finding = True
        try:
            self._take_schedulers(new, old)
        finally:
            self._finding = False

    def _take_schedulers(self, new: list[Any], old: list[Any]) -> None:
        self._schedulers = [*_others(self._schedulers, old), *new]
        for scheduler in new:
            self._say("scheduler", scheduler_facts, scheduler, replaced=bool(old))

    def remove(self) -> None:
        """Takes every hook off, and lets go of everything: a writer may outlive the model that it has watched."""
        self.forwards.close()
        self.forwards.refresh()
        for criterion in list(self.losses.criteria):
            self.losses.remove(criterion)
        for optimizer in list(self.updates.optimizers):
            self.updates.remove(optimizer)
        self.updates.close()
        self._left = []
        self.losses.scaler = self.probe = None
        self._schedulers = []
        self.collectors.clear()
        self.lane.forget()

    @property
    def objects(self) -> Objects:
        """Everything that is watched."""
        return Objects(self.forwards.models, self.updates.optimizers, self._schedulers, self.losses.criteria)

    def scale(self) -> Any:
        """The AMP scale, or None."""
        return getattr(self.losses.scaler, "_scale", None)

    def add_scaler(self, scaler: Any) -> None:
        """Divides gradient norms by its scale, and follows the scale."""
        if self.losses.scaler is None:
            self.collectors.add(LossScale(lambda: self.losses.scaler))
        self.losses.scaler = scaler

    def _facts(self, fields: Mapping[str, Any]) -> None:
        recorder = self._recorder()
        if recorder is not None:
            recorder.facts(fields)

    def _note(self, kind: str, text: str, fields: Mapping[str, Any]) -> None:
        recorder = self._recorder()
        if recorder is not None:
            recorder.outbox.record(kind, text=text, fields=fields)

    def _put(self, row: Row, values: Mapping[str, float | Tensor]) -> None:
        recorder = self._recorder()
        if recorder is not None:
            recorder.put(row, values)

    def _found(self, optimizer: Optimizer) -> None:
        self._finding = True
        try:
            self.add_optimizers([optimizer], named=False)
        finally:
            self._finding = False

    def _stepped(self) -> None:
        """A step is about to be made."""
        self.forwards.check_seen()
        recorder = self._recorder()
        if recorder is not None:
            self._outside.stepped(recorder)

    def _took_over(self, optimizer: Optimizer, model: nn.Module | None) -> None:
        """An optimiser of other parameters trains, and what is watched does not: it takes the place of it."""
        self._take_models([] if model is None else [model], list(self.forwards.models))
        self._leave(list(self.updates.optimizers))
        self.add_optimizers([optimizer], named=False)

    def _parameters(self) -> Iterable[Tensor]:
        if self.updates.optimizers:
            return self.updates.parameters()
        return (p for model in self.forwards.models for p in model.parameters())

    def _say(self, kind: str, describe: Callable[[Any], dict[str, Any]], thing: Any, *, replaced: bool) -> None:
        recorder = self._recorder()
        self.lane.leave()
        facts = self._guard.call(f"facts of the {kind}", describe, thing) or {"class": type(thing).__name__}
        if recorder is None:
            return
        recorder.facts({kind: facts})
        if replaced:
            if not self._finding:  # else the batch that is being trained on is the first one with it
                recorder.steps.pause()
            recorder.outbox.record("config_change", text=f"{kind} replaced: now {facts['class']}", fields={kind: facts})

    def _restored(self, what: str, name: str) -> None:
        recorder = self._recorder()
        if recorder is not None:
            self.lane.leave()
            recorder.note("restore", f"state of the {what} loaded", {"what": what, "class": name})


def _takes_place(new: nn.Module, old: nn.Module) -> bool:
    if type(new) is type(old):
        return True
    mine = {id(p) for p in new.parameters()}
    return any(id(p) in mine for p in old.parameters())


def _same_optimizer(one: Any, other: Any) -> bool:
    return getattr(one, "optimizer", 0) is getattr(other, "optimizer", 1)


def _others(things: list[Any], known: list[Any]) -> list[Any]:
    """`things` without doubles and without what is in `known`, by identity."""
    found: list[Any] = []
    for thing in things:
        if not any(thing is other for other in (*known, *found)):
            found.append(thing)
    return found
