"""Notices by itself what somebody changed in the configuration of a training: nobody sends an event for a bug."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch
from tb_losslens.record.collector import Collector
from tb_losslens.record.signals.config_values import config_mark, config_values

GRADUAL = 3
"""Epochs in a row in which a value changed, from which on it is taken for a schedule and not noted again."""

MOST_CHANGES = 32
"""Pairs that one event holds."""

_GROUP = re.compile(r"^optimizer(?: \d+)? group \d+ (?P<setting>\w+)$")
_CYCLED = frozenset({"momentum", "betas"})
_CYCLIC = ("OneCycleLR", "CyclicLR")
_SETTINGS = frozenset(
    {
        *("momentum", "dampening", "weight_decay", "nesterov", "betas", "eps", "alpha", "rho", "amsgrad", "centered"),
        *("decoupled_weight_decay", "maximize", "lambd", "t0", "etas", "step_sizes", "lr_decay", "initial_accumulator_value"),
        *("momentum_decay", "beta2_decay", "ns_coefficients", "ns_steps", "adjust_lr_fn", "history_size", "line_search_fn"),
        *("max_iter", "max_eval", "tolerance_grad", "tolerance_change"),
        *("beta1", "beta2", "clip_threshold", "decay_rate", "scale_parameter", "relative_step", "warmup_init"),
    }
)
"""Numbers of a parameter group that somebody sets; some optimisers keep counters beside them that move every step."""


@dataclass
class Objects:
    """What is watched, as lists that the recorder keeps up to date.

    Attributes:
        models: outer modules.
        optimizers: those whose steps are seen.
        schedulers: their LR schedulers.
        criteria: loss modules.
    """

    models: Sequence[nn.Module] = ()
    optimizers: Sequence[Optimizer] = ()
    schedulers: Sequence[Any] = ()
    criteria: Sequence[Any] = field(default_factory=list)


class Turns:
    """Numbers what serves epochs, from 1, as one takes the place of another: the loaders of a training, its data sets.

    What is built anew for each epoch is no replacement: only where the one before has served two epochs or more, or was there
    before, does another one have another number.

    Attributes:
        current: stands for what serves now; None where it is not known.
        number: that of the epoch; 0 before the first.
    """

    def __init__(self) -> None:
        self.current: object = None
        self.number = 0
        self._known: list[tuple[object, int]] = []
        self._served = 0

    def epoch(self) -> None:
        """An epoch begins, which `current` serves."""
        if self.current is None:
            return
        if self._known and self._known[-1][0] == self.current:
            self._served += 1
            return
        again = next((number for one, number in self._known if one == self.current), None)
        if again is not None:
            self.number = again
        elif not self._known or self._served > 1:
            self.number = 1 + max((number for _, number in self._known), default=0)
        self._known = [*(pair for pair in self._known[-15:] if pair[0] != self.current), (self.current, self.number)]
        self._served = 1


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two snapshots: (old, new) by name, in the order of `new`.

    Left out: learning rates and what a cyclic scheduler moves with them; the optimiser's own counters, which some keep among
    their settings; and what only one of the two snapshots has, an object that came or went.
    """
    cyclic = any(str(new.get(key)) in _CYCLIC for key in new if key.startswith("scheduler") and key.endswith("class"))
    cyclic |= any(key.endswith(" max_momentum") for key in new)
    return {
        key: (old[key], value)
        for key, value in new.items()
        if key in old and old[key] != value and _is_setting(key, cyclic=cyclic)
    }


def in_words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """One line that names every change; the same change of many modules is one."""
    same: dict[str, list[str]] = {}
    for key, (old, new) in changes.items():
        kind = key.split(" of ")[0] if " of " in key else key
        same.setdefault(f"{kind}|{_shown(old)} -> {_shown(new)}", []).append(key)
    parts = []
    for change, keys in list(same.items())[:MOST_CHANGES]:
        kind, pair = change.split("|", 1)
        parts.append(f"{keys[0]} {pair}" if len(keys) == 1 else f"{kind} of {len(keys)} modules {pair}")
    return ", ".join(parts)


class ConfigSnapshots(Collector):
    """The configuration at both ends of each epoch, and an event for each change that is not a learning rate.

    Args:
        objects: gives what is watched.
        note: called with kind, text and fields of an event. The fields of a change are `automatic`: true, `when`: "between
            epochs" or "within an epoch", and `changes`: [old, new] by name.
    """

    exact_ends = True
    name = "configuration"

    def __init__(self, objects: Callable[[], Objects], note: Callable[[str, str, dict[str, Any]], None]) -> None:
        self._objects = objects
        self._note = note
        self._last: dict[str, Any] | None = None
        self._mark: Any = None
        self._loader: Mapping[str, Any] = {}
        self._loaders, self._data_sets = Turns(), Turns()
        self._changed: dict[str, tuple[int, int]] = {}

    def delivered(self, batch: Batch, raw: Any) -> None:  # noqa: ARG002 - a collector's signature
        """Keeps the facts of the loader."""
        self._loader = getattr(batch.source, "loader", None) or {}
        self._loaders.current = getattr(batch.source, "owner", None)  # holds nothing of the loader
        self._data_sets.current = self._loader.get("data")

    def epoch_begins(self, epoch: int) -> dict[str, Any] | None:
        """`config`: the whole snapshot, where it is the first or another than the last one."""
        self._loaders.epoch()
        self._data_sets.epoch()
        return self._look("between epochs", epoch)

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:
        """The same."""
        return self._look("within an epoch", epoch)

    def unread(self, kind: str, epoch: int) -> dict[str, Any] | None:
        """A boundary that is told late is looked at once: what has changed since the last look changed there as a rule."""
        return self.epoch_begins(epoch) if kind == "epoch_begin" else None

    def _look(self, when: str, epoch: int) -> dict[str, Any] | None:
        its = self._objects()
        mark = config_mark(its.models, its.optimizers, its.schedulers, its.criteria, self._loader)
        numbers = self._loaders.number, self._data_sets.number
        if mark is not None and (mark, numbers) == self._mark:
            return None
        now = config_values(its.models, its.optimizers, its.schedulers, its.criteria, self._loader)
        for name, turns, kind in (("loader", self._loaders, "class"), ("data set", self._data_sets, "dataset")):
            if turns.number:
                now[name] = f"{self._loader.get(kind, name)} {turns.number}"
        last, self._last = self._last, now
        self._mark = mark, numbers  # last: after an interrupt it is looked at again
        if last is None:
            return {"config": now} if now else None
        if now == last:
            return None
        changes = {key: pair for key, pair in diff(last, now).items() if self._is_noteworthy(key, epoch)}
        if changes:
            pairs = {key: list(pair) for key, pair in list(changes.items())[:MOST_CHANGES]}
            self._note("config_change", in_words(changes), {"automatic": True, "when": when, "changes": pairs})
        return {"config": now}

    def _is_noteworthy(self, key: str, epoch: int) -> bool:
        """False for what changes every epoch: a schedule of weight decay or dropout is no change of mind."""
        latest, count = self._changed.get(key, (-2, 0))
        count = 1 if epoch > latest + 1 else count + (epoch != latest)
        self._changed[key] = (epoch, count)
        return count < GRADUAL


def _is_setting(key: str, *, cyclic: bool) -> bool:
    group = _GROUP.match(key)
    if group is not None:
        setting = group["setting"]
        return setting == "tensors" or (setting in _SETTINGS and not (cyclic and setting in _CYCLED))
    return not (key.startswith("scheduler") and key.endswith("base_lrs"))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
