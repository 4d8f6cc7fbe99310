"""Hooks on what the user names: model, optimiser, criterion. Each sees and leaves everything as it is.

Only outermost callables are hooked: a hook inside a compiled region would break its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tb_losslens.record.batch import describe_targets, storages_of
from tb_losslens.record.facts import criterion_facts, model_facts, optimizer_facts, scheduler_facts
from tb_losslens.record.guard import Guard
from tb_losslens.record.hook import Hook
from tb_losslens.record.measures import (
    batch_counters,
    first_floating,
    gradients_of,
    input_moments,
    total_norm,
    training_share,
    unwrapped,
)
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.row import Row
from tb_losslens.record.step import take_targets


class Watch:
    """The watched objects of one writer and the hooks on them.

    Args:
        guard: runs every collector.
        recorder: gives the recorder, or None where there is none any more.
    """

    def __init__(self, guard: Guard, recorder: Callable[[], Recorder | None]) -> None:
        self._guard = guard
        self._recorder = recorder
        self.models: list[nn.Module] = []
        self.optimizers: list[Optimizer] = []
        self.criteria: list[nn.Module] = []
        self.schedulers: list[Any] = []
        self.scaler: Any = None
        self._named = False
        self._foreign: set[int] = set()
        self._parameters: dict[int, frozenset[int]] = {}
        self._modules: list[nn.Module] = []
        self._counters: list[Tensor] = []
        self._depth = 0
        self._queued = False
        self._handles: list[Any] = [
            register_optimizer_step_pre_hook(Hook(self._step_begins)),
            register_optimizer_step_post_hook(Hook(self._step_ends)),
        ]

    # --- what is watched --------------------------------------------------------------------------------------------

    def add_model(self, model: nn.Module) -> None:
        """Watches the forwards of `model`; a second one of its class replaces the first."""
        if any(model is known for known in self.models):
            return
        replaced = self._replace(self.models, model)
        self.models.append(model)
        self._handles.append(model.register_forward_pre_hook(Hook(self._forward_begins), with_kwargs=True))
        self._handles.append(model.register_forward_hook(Hook(self._forward_ends), always_call=True))
        self._handles.append(model.register_load_state_dict_post_hook(Hook(self._model_restored)))
        self._scan()
        self._say("model", model_facts(unwrapped(model)), replaced=replaced)

    def add_optimizer(self, optimizer: Optimizer, *, named: bool = True) -> None:
        """Watches the steps of `optimizer`; one that shares parameters with a known one replaces it."""
        if any(optimizer is known for known in self.optimizers):
            return
        mine = frozenset(id(p) for group in optimizer.param_groups for p in group["params"])
        old = [known for known in self.optimizers if self._parameters.get(id(known), frozenset()) & mine]
        for known in old:
            self.optimizers.remove(known)
            self._parameters.pop(id(known), None)
        self.optimizers.append(optimizer)
        self._parameters[id(optimizer)] = mine
        self._named |= named
        self._handles.append(optimizer.register_load_state_dict_post_hook(Hook(self._optimizer_restored)))
        self._say("optimizer", optimizer_facts(optimizer), replaced=bool(old))

    def add_criterion(self, criterion: Any) -> None:
        """Watches the calls of `criterion`, a module; a plain function cannot be seen and is only noted."""
        if any(criterion is known for known in self.criteria):
            return
        if isinstance(criterion, nn.Module):
            replaced = self._replace(self.criteria, criterion)
            self.criteria.append(criterion)
            self._handles.append(criterion.register_forward_hook(Hook(self._criterion_called), with_kwargs=True))
        else:
            replaced = False
            self._guard.warn(
                f"watch(criterion=...) got a function, {getattr(criterion, '__name__', type(criterion).__name__)}, whose calls cannot be seen: "
                "use the module of the same name, such as nn.CrossEntropyLoss(), or writer.log_batch(loss)"
            )
        self._say("criterion", criterion_facts(criterion), replaced=replaced)

    def add_scheduler(self, scheduler: Any) -> None:
        """Notes the class and the numbers of a scheduler."""
        if any(scheduler is known for known in self.schedulers):
            return
        replaced = self._replace(self.schedulers, scheduler)
        self.schedulers.append(scheduler)
        self._say("scheduler", scheduler_facts(scheduler), replaced=replaced)

    @staticmethod
    def _replace(known: list[Any], new: Any) -> bool:
        """Takes out an object of the same class: it is replaced by `new`."""
        same = [item for item in known if type(item) is type(new)]
        for item in same:
            known.remove(item)
        return bool(same)

    def _say(self, kind: str, facts: dict[str, Any], *, replaced: bool) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        recorder.facts({kind: facts})
        if replaced:
            recorder.steps.pause()
            recorder.outbox.record(
                "config_change", text=f"{kind} replaced by a new {facts.get('class', '')}", fields={kind: facts}
            )

    def _scan(self) -> None:
        self._modules = [module for model in self.models for module in unwrapped(model).modules()]
        self._counters = batch_counters(self._modules)

    def refresh(self) -> None:
        """Looks again which modules there are; a user may have replaced some."""
        if self.models:
            self._scan()

    def remove(self) -> None:
        """Takes every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    # --- forward ----------------------------------------------------------------------------------------------------

    def _forward_begins(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if not any(module is model for model in self.models):
            return  # a copy, or one that was replaced
        self._depth += 1
        if self._depth == 1:
            self._guard.call("forward of the model", self._forward, args, kwargs)

    def _forward(self, args: Any, kwargs: Any) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        inputs = (args, kwargs) if kwargs else args
        if recorder.validation is not None and recorder.validation.implicit and torch.is_grad_enabled():
            recorder.end_validation()
        if recorder.validating or not torch.is_grad_enabled():
            if not recorder.validating:
                if recorder.steps.driven:
                    return  # inside the training loop, and not said to be a validation
                recorder.begin_validation().implicit = True
            self._validation_forward(recorder, inputs)
            return
        row = recorder.steps.forward(lambda: storages_of(inputs))
        if row is None:
            return
        mode = training_share(self._modules)
        if "train_mode" in row.values:
            if row.values["train_mode"] != mode:
                row.values["train_mode"] = 0.5
            return
        row.values["train_mode"] = mode
        tensor = first_floating(inputs)
        if tensor is not None:
            self.put(row, input_moments(tensor))

    def _validation_forward(self, recorder: Recorder, inputs: Any) -> None:
        tensor = first_floating(inputs)
        moments = input_moments(tensor) if tensor is not None else {}
        size = int(tensor.shape[0]) if tensor is not None and tensor.dim() else 1
        if recorder.validation is not None:
            recorder.validation.forward(training_share(self._modules), moments, size)

    def _forward_ends(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002 - torch's signature
        if torch.compiler.is_compiling():
            return
        if not self._depth or not any(module is model for model in self.models):
            return
        self._depth -= 1
        if not self._depth:
            self._guard.call("output of the model", self._output, output)

    def _output(self, output: Any) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        if recorder.validating or not torch.is_grad_enabled():
            if recorder.validation is not None and self._counters:
                recorder.validation.counters(self.counter())
            return
        row = recorder.steps.current
        if row is not None and self._counters:
            self.put(row, {"bn_updates": self._counter()})
        tensor = first_floating(output)
        if tensor is not None and tensor.requires_grad:
            tensor.register_hook(self._backward_begins)

    def _counter(self) -> Tensor | float:
        if self._counters[0].device.type == "cpu":
            return float(min(counter.item() for counter in self._counters))
        return torch.stack(self._counters).min()

    def counter(self) -> float:
        """Updates of the running statistics so far, the least of all layers; -1 without such a layer."""
        return float(self._counter()) if self._counters else -1.0

    # --- loss and backward ------------------------------------------------------------------------------------------

    def _criterion_called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if torch.compiler.is_compiling() or not isinstance(output, Tensor):
            return
        if any(module is known for known in self.criteria):
            self._guard.call("criterion", self._criterion, args, kwargs, output)

    def _criterion(self, args: Any, kwargs: Any, output: Tensor) -> None:
        recorder = self._recorder()
        if recorder is None or not output.numel():
            return
        given = (*args, *kwargs.values())
        size = int(given[0].shape[0]) if given and isinstance(given[0], Tensor) and given[0].dim() else -1
        loss = output.detach()
        value = loss.mean() if loss.dim() else loss
        number: float | Tensor = value.item() if value.device.type == "cpu" else value
        if recorder.validating or not torch.is_grad_enabled():
            if recorder.validation is not None and recorder.validating:
                recorder.validation.loss(number, size)
            return
        row = recorder.steps.criterion(number, size)
        if row is None:
            return
        if loss.dim() == 1 and loss.device.type == "cpu" and "per_sample" not in row.lists:
            row.lists["per_sample"] = loss.float().numpy().copy()
        target = given[1] if len(given) > 1 and isinstance(given[1], Tensor) else None
        if target is not None and row.classes is None and row.batch is None and "target_mean" not in row.values:
            take_targets(row, describe_targets(target))
        row.values.setdefault("batch_size", size)
        if output.requires_grad:
            output.register_hook(self._backward_begins)

    def watch_loss(self, loss: Tensor) -> None:
        """Sees the backward of a loss that `log_batch` was given before it."""
        if loss.requires_grad and not self._queued:
            loss.register_hook(self._backward_begins)

    def _backward_begins(self, gradient: Tensor) -> None:  # noqa: ARG002 - torch's signature
        if torch.compiler.is_compiling() or self._queued:
            return
        self._guard.call("gradient norm", self._queue)

    def _queue(self) -> None:
        recorder = self._recorder()
        if recorder is None:
            return
        recorder.steps.backward()
        self._queued = True
        Variable._execution_engine.queue_callback(self._backward_ends)  # type: ignore[no-untyped-call]

    def _backward_ends(self) -> None:
        self._queued = False
        self._guard.call("gradient norm", self._gradient_norm)

    def _gradient_norm(self) -> None:
        recorder = self._recorder()
        row = recorder.steps.current if recorder is not None else None
        if row is None:
            return
        norm = total_norm(gradients_of(self._all_parameters()))
        if norm is not None:
            scale = self._scale()
            self.put(row, {"grad_norm": norm if scale is None else norm / scale.to(norm.device)})

    def _all_parameters(self) -> Iterable[Tensor]:
        if self.optimizers:
            return (p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"])
        return (p for model in self.models for p in model.parameters())

    def _scale(self) -> Tensor | None:
        scale = getattr(self.scaler, "_scale", None)
        return scale if isinstance(scale, Tensor) else None

    # --- optimiser --------------------------------------------------------------------------------------------------

    def _step_begins(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        if torch.compiler.is_compiling() or id(optimizer) in self._foreign:
            return
        self._guard.call("optimizer step", self._step, optimizer)

    def _step(self, optimizer: Optimizer) -> None:
        recorder = self._recorder()
        if recorder is None or not self._adopt(optimizer, recorder):
            return
        row = recorder.steps.step_begins(id(optimizer), named=self._named)
        if row is None:
            return
        rates = self._learning_rates(row)
        norm = total_norm(gradients_of(p for group in optimizer.param_groups for p in group["params"]))
        if norm is not None:
            scale = getattr(optimizer, "grad_scale", None)  # an optimiser that divides by the AMP scale itself
            rates["grad_norm_at_step"] = norm / scale.to(norm.device) if isinstance(scale, Tensor) else norm
        self.put(row, rates)

    def _step_ends(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch's signature
        if torch.compiler.is_compiling() or not any(optimizer is known for known in self.optimizers):
            return
        recorder = self._recorder()
        if recorder is not None:
            self._guard.call("optimizer step", recorder.steps.step_ends)

    def _adopt(self, optimizer: Optimizer, recorder: Recorder) -> bool:
        """True if this optimiser is one of ours: named, or the first to step while a wrapped loader is iterated."""
        if any(optimizer is known for known in self.optimizers):
            return True
        mine = frozenset(id(p) for group in optimizer.param_groups for p in group["params"])
        shared = any(self._parameters.get(id(known), frozenset()) & mine for known in self.optimizers)
        if shared or (not self.optimizers and recorder.steps.driven):
            self.add_optimizer(optimizer, named=False)
            return True
        if self.optimizers:
            self._foreign.add(id(optimizer))
        return False

    def _learning_rates(self, row: Row) -> dict[str, Any]:
        return {name: rate for name, rate in self.rates().items() if name not in row.values}

    def rates(self) -> dict[str, Any]:
        """Learning rate of every parameter group by column name: `lr`, `lr.1`, ..."""
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        return {f"lr.{i}" if i else "lr": group["lr"] for i, group in enumerate(groups) if "lr" in group}

    def plain_rates(self) -> dict[str, float]:
        """The same, those that can be read without waiting for a device."""
        rates = self.rates()
        return {name: float(rate) for name, rate in rates.items() if not isinstance(rate, Tensor) or rate.device.type == "cpu"}

    def put(self, row: Row, values: dict[str, Any]) -> None:
        """Puts numbers into a row: at once those of the CPU, the others when the device has them."""
        now: dict[str, float] = {}
        for name, value in values.items():
            if isinstance(value, Tensor) and value.device.type != "cpu":
                row.later.add(name, value)
            else:
                now[name] = float(value)
        recorder = self._recorder()
        if row.released and recorder is not None:
            recorder.outbox.amend(row, now)
        else:
            row.values.update(now)

    # --- state ------------------------------------------------------------------------------------------------------

    def _model_restored(self, module: nn.Module, incompatible: Any) -> None:  # noqa: ARG002 - torch's signature
        if not torch.compiler.is_compiling():
            self._guard.call("restore", self._restored, "model", type(unwrapped(module)).__name__)

    def _optimizer_restored(self, optimizer: Optimizer) -> None:
        self._guard.call("restore", self._restored, "optimizer", type(optimizer).__name__)

    def _restored(self, what: str, name: str) -> None:
        recorder = self._recorder()
        if recorder is not None:
            recorder.steps.pause()
            recorder.outbox.record("restore", text=f"state of the {what} loaded", fields={"what": what, "class": name})
