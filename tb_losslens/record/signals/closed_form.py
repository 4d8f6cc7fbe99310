"""Answers which learning rates a scheduler should have set by now, by its formula and not by what it did."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

Form = Callable[[Any, int, float], Any]
"""Rate of one parameter group: of the scheduler, the number of the group and the rate that it began with."""

_NO_FORM: Mapping[str, str] = {
    "ReduceLROnPlateau": "it follows a metric",
    "LambdaLR": "its function is the user's own and is not called",
    "MultiplicativeLR": "its function is the user's own and is not called",
    "SWALR": "it begins from rates that another scheduler has left",
}


class NoForm(Exception):  # noqa: N818 - it is a result and no failure
    """There is no formula; the sentence says why."""


def closed_form(schedulers: Sequence[Any]) -> list[float]:
    """Learning rate of each parameter group after as many steps as the schedulers of one optimiser count.

    Formulas of `torch.optim.lr_scheduler`, in the number of steps n (`last_epoch`), which is taken as the schedulers say it:
    rates that differ were set by somebody else, or come from a scheduler that was built again on a rate that had changed.
    Schedulers that step side by side, and those of a `ChainedScheduler`, multiply, where each is a factor that does not
    depend on the rate.

    Args:
        schedulers: at least one; nothing in them is called or changed.

    Returns:
        Shape (groups,), of the groups that were there when the scheduler was made.

    Raises:
        NoForm: there is no formula, with the reason.
    """
    if len(schedulers) == 1:
        return _rates(schedulers[0])
    base = _base(schedulers[0])
    rates = list(base)
    for one in schedulers:
        name = type(one).__name__
        if name not in _FACTORS or (name == "CosineAnnealingLR" and one.eta_min):
            raise NoForm(f"{name} is not the only scheduler, and no factor beside the others")
        for group, rate in enumerate(_rates(one)[: len(base)]):
            rates[group] *= rate / base[group] if base[group] else 1.0
    return rates


def _rates(scheduler: Any) -> list[float]:
    name = type(scheduler).__name__
    if type(scheduler).__module__ != "torch.optim.lr_scheduler" and name not in _NO_FORM:
        raise NoForm(f"{name} is no scheduler of torch")
    if name in _NO_FORM:
        raise NoForm(_NO_FORM[name])
    if name == "SequentialLR":
        # each part counts for itself from the milestone on at which it took over
        return _rates(scheduler._schedulers[bisect_right(scheduler._milestones, scheduler.last_epoch)])
    if name == "ChainedScheduler":
        return closed_form(scheduler._schedulers)
    form = _FACTORS.get(name) or _FORMS.get(name)
    if form is None:
        raise NoForm(f"the formula of {name} is not known")
    return [_number(form(scheduler, group, rate)) for group, rate in enumerate(_base(scheduler))]


def _base(scheduler: Any) -> list[float]:
    rates = getattr(scheduler, "base_lrs", None)
    if not rates:
        raise NoForm("it does not say which rates it began with")
    return [_number(rate) for rate in rates]


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.device.type != "cpu":
        raise NoForm("its rates are on a device, which would have to be waited for")
    return float(value)


def _step(s: Any, _: int, base: float) -> Any:
    return base * s.gamma ** (s.last_epoch // s.step_size)


def _multi_step(s: Any, _: int, base: float) -> Any:
    passed = sum(count for milestone, count in s.milestones.items() if milestone <= s.last_epoch)
    return base * s.gamma**passed


def _constant(s: Any, _: int, base: float) -> Any:
    return base * (s.factor if s.last_epoch < s.total_iters else 1.0)


def _linear(s: Any, _: int, base: float) -> Any:
    done = min(s.last_epoch, s.total_iters) / s.total_iters if s.total_iters else 1.0
    return base * (s.start_factor + (s.end_factor - s.start_factor) * done)


def _exponential(s: Any, _: int, base: float) -> Any:
    return base * s.gamma**s.last_epoch


def _polynomial(s: Any, _: int, base: float) -> Any:
    return base * (1 - min(s.last_epoch, s.total_iters) / s.total_iters) ** s.power


def _cosine(s: Any, _: int, base: float) -> Any:
    return s.eta_min + (base - s.eta_min) * (1 + math.cos(math.pi * s.last_epoch / s.T_max)) / 2


def _warm_restarts(s: Any, _: int, base: float) -> Any:
    # its own place in the cycle, which may lie between two steps
    return s.eta_min + (base - s.eta_min) * (1 + math.cos(math.pi * s.T_cur / s.T_i)) / 2


def _one_cycle(s: Any, group: int, _: float) -> Any:
    rates, begin = s.optimizer.param_groups[group], 0.0
    phases = s._schedule_phases
    for number, phase in enumerate(phases):
        end = phase["end_step"]
        if s.last_epoch <= end or number == len(phases) - 1:
            break
        begin = end
    first, last = rates[phase["start_lr"]], rates[phase["end_lr"]]
    done = (s.last_epoch - begin) / (end - begin)
    if s._anneal_func_type == "linear":
        return first + (last - first) * done
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


def _cyclic(s: Any, group: int, base: float) -> Any:
    if s._scale_fn_custom is not None:
        raise NoForm(_NO_FORM["LambdaLR"])
    cycle = math.floor(1 + s.last_epoch / s.total_size)
    place = 1 + s.last_epoch / s.total_size - cycle
    height = place / s.step_ratio if place <= s.step_ratio else (place - 1) / (s.step_ratio - 1)
    shrunk = {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": s.gamma**s.last_epoch}[s.mode]
    return base + (s.max_lrs[group] - base) * height * shrunk


_FACTORS: Mapping[str, Form] = {
    "StepLR": _step,
    "MultiStepLR": _multi_step,
    "ConstantLR": _constant,
    "LinearLR": _linear,
    "ExponentialLR": _exponential,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
}
_FORMS: Mapping[str, Form] = {
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "OneCycleLR": _one_cycle,
    "CyclicLR": _cyclic,
}
