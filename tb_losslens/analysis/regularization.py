"""How much dropout and weight decay a training has, and where either is raised: read off the recorded settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.stats import finite, median
from tb_losslens.store.run import Run

_DROPOUT = re.compile(r"^(?:model \d+ )?dropout of ")
_DECAY = re.compile(r"^optimizer(?: \d+)? group (?P<group>\d+) weight_decay$")


@dataclass(frozen=True)
class Raise:
    """A setting that is raised at a boundary.

    Attributes:
        boundary: where.
        old, new: its value before and after; of many modules the mean rate.
        keys: the settings by name.
        alone: nothing else is known to have changed there.
    """

    boundary: Boundary
    old: float
    new: float
    keys: tuple[str, ...]
    alone: bool


def settings_of(run: Run, *, first: bool = False) -> Mapping[str, Any]:
    """The newest whole snapshot of the settings, or the first one; empty where none was taken."""
    taken = [event.fields.get("config") for event in run.events if event.kind in ("epoch_begin", "epoch_end")]
    return next((config for config in (taken if first else reversed(taken)) if isinstance(config, Mapping)), {})


def dropout_rate(settings: Mapping[str, Any]) -> float:
    """The largest rate of a dropout module; 0 without any."""
    rates = [_rate(value, most=True) for key, value in settings.items() if _DROPOUT.match(str(key))]
    return max([rate for rate in rates if math.isfinite(rate)], default=0.0)


def weight_decay(settings: Mapping[str, Any]) -> float:
    """The largest weight decay of a group; 0 without any."""
    values = [value for key, value in settings.items() if _DECAY.match(str(key)) and isinstance(value, int | float)]
    return float(max(values, default=0.0))


def half_life(run: Run, settings: Mapping[str, Any]) -> float:
    """Steps in which weight decay alone halves the weights: ln 2 (1 - momentum) / (lr wd), of the group with the least.

    NaN without any, where the LR is unknown, and for optimisers that divide the decay by the size of the gradient, as Adam
    does: with them it has no rate of its own. Decay that is taken apart from the gradient has no momentum.
    """
    out = [math.nan]
    for key, decay in settings.items():
        match = _DECAY.match(str(key))
        if match is None or not isinstance(decay, int | float) or not decay > 0:
            continue
        prefix = str(key).removesuffix("weight_decay")
        name = str(settings.get(f"{str(key).split(' group ', maxsplit=1)[0]} class", ""))
        group = match["group"]
        lr = median(run.float("lr" if group == "0" else f"lr.{group}"))
        apart = name == "AdamW" or bool(settings.get(f"{prefix}decoupled_weight_decay"))
        momentum = settings.get(f"{prefix}momentum")
        if not lr > 0 or not (apart or name == "SGD"):
            continue
        rest = 1 - momentum if not apart and isinstance(momentum, int | float) and 0 <= momentum < 1 else 1.0
        out.append(math.log(2) * rest / (lr * decay))
    return float(np.nanmin(out)) if not all(math.isnan(one) for one in out) else math.nan


def pull(run: Run, decay: float, *, rows: int = 20) -> float:
    """Size of the decay over that of the gradient, in the first `rows` batches of which both were read; NaN if unknown."""
    weights, gradient = run.float("weight_norm"), run.float("grad_norm")
    known = np.flatnonzero(np.isfinite(weights) & np.isfinite(gradient) & (gradient > 0))[:rows]
    with np.errstate(over="ignore"):
        return median(decay * weights[known] / gradient[known])


def held_back(run: Run, settings: Mapping[str, Any], *, part: float = 0.5, moves: float = 0.1) -> float:
    """By how much the loss falls at first for each e-fold that the weights grow, where weight decay keeps them; NaN if unknown.

    The mean over the last `part` of the batches, in which the norm of the weights moves by `moves` of itself at most. The decay
    then takes from its square in a step what the gradient and the noise of the updates add to it: decay times the square, less
    lr/2 times the square of the gradient norm over 1 - momentum, is the slope of the loss along the weights. Of weights whose
    size does not matter, as before BatchNorm, it is about 0. Only for SGD of one group, whose decay is part of the gradient.
    """
    found = [(key, value) for key, value in settings.items() if _DECAY.match(str(key))]
    key, decay = str(found[0][0]) if len(found) == 1 else "", found[0][1] if len(found) == 1 else None
    momentum = settings.get(f"{key.removesuffix('weight_decay')}momentum", 0.0)
    name = settings.get(f"{key.split(' group ', maxsplit=1)[0]} class")
    if name != "SGD" or not isinstance(decay, int | float) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
        return math.nan
    last = slice(len(run) - int(part * len(run)), len(run))
    norms, gradients = finite(run.float("weight_norm")[last]), finite(run.float("grad_norm")[last])
    lr = median(run.float("lr")[last])
    if len(norms) < 2 or not len(gradients) or not math.isfinite(lr):
        return math.nan
    early, late = (median(half) for half in np.array_split(norms, 2))
    if not abs(late - early) <= moves * early:
        return math.nan
    with np.errstate(over="ignore"):
        noise = lr * float((gradients**2).mean()) / (2 * (1 - momentum))
        slope = float(decay) * float((norms**2).mean()) - noise
    return slope if math.isfinite(slope) else math.nan


def shrunk(run: Run, row: int = 0) -> float:
    """Norm of the weights at the end over that before `row`, or over the first one; NaN where it was not read on both sides."""
    norms = run.float("weight_norm")
    before, after = finite(norms[:row]), finite(norms[row:])
    start = before[-1:] if len(before) else after[:1]
    return float(after[-1] / start[0]) if len(after) > (not len(before)) and start[0] > 0 else math.nan


def raises(run: Run, boundaries: tuple[Boundary, ...]) -> dict[str, list[Raise]]:
    """Where dropout and where weight decay is raised, as the recorder saw by itself: keys "dropout" and "weight_decay"."""
    found: dict[str, list[Raise]] = {"dropout": [], "weight_decay": []}
    rows, events = run.config_changes
    for boundary in boundaries:
        low, high = np.searchsorted(rows, (boundary.batch - 1, boundary.batch + 2))
        changes: dict[str, Any] = {}
        others = 0
        for event in events[low:high]:
            seen = event.fields.get("changes")
            if event.fields.get("automatic") and isinstance(seen, Mapping):
                changes.update(seen if event.fields.get("when") != "within an epoch" else {})
            elif not event.fields.get("about"):
                others += 1
        kinds = {
            "dropout": {key: pair for key, pair in changes.items() if _DROPOUT.match(str(key))},
            "weight_decay": {key: pair for key, pair in changes.items() if _DECAY.match(str(key))},
        }
        for kind, pairs in kinds.items():
            old, new = (float(np.mean([_of(pair, side) for pair in pairs.values()])) if pairs else math.nan for side in (0, 1))
            if new > old:
                alone = not others and len(pairs) == len(changes)
                found[kind].append(Raise(boundary, old, new, tuple(map(str, pairs)), alone))
    return found


def _of(pair: Any, side: int) -> float:
    return _rate(pair[side]) if isinstance(pair, list | tuple) and len(pair) == 2 else math.nan


def _rate(value: Any, *, most: bool = False) -> float:
    """A setting as a number: itself, or of modules that are counted by rate their mean (or, with `most`, their largest)."""
    if isinstance(value, Mapping):
        try:
            rates = {float(rate): int(count) for rate, count in value.items()}
        except (TypeError, ValueError):
            return math.nan
        total = sum(rates.values())
        return max(rates, default=0.0) if most else sum(r * n for r, n in rates.items()) / total if total else math.nan
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def kind_of(key: str) -> str:
    """Which of "dropout" and "weight_decay" a setting is, "" for neither."""
    return "dropout" if _DROPOUT.match(key) else "weight_decay" if _DECAY.match(key) else ""


def value_of(value: Any) -> float:
    """Such a setting as a number; NaN for none. Of modules that are counted by rate it is their mean."""
    return _rate(value)


def setting_code(kind: str, value: float, why: str) -> str:
    """Code that sets dropout or weight decay to `value`; `why` is a comment."""
    if kind == "dropout":
        return (
            "for module in model.modules():\n"
            "    if isinstance(module, nn.Dropout):\n"
            f"        module.p = {value:.3g}     # {why}"
        )
    return f'for group in optimizer.param_groups:\n    group["weight_decay"] = {value:.3g}     # {why}'
