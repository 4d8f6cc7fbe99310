"""Proves that a sample came back with another target or another input than in the epoch before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.batch import Batch, tensors_of
from tb_losslens.record.collector import Collector
from tb_losslens.record.data_sets import Samples
from tb_losslens.record.signals.fingerprint_table import FingerprintTable, prints_of, words_of
from tb_losslens.record.thread_clock import thread_time

FIRST = 16
"""Changed targets of an epoch that are told one by one."""

AT_ONCE = 4096
"""Samples that are compared at once: their words take at most 1 MB."""

MOST_LEFT_OUT = 255
"""Passes between two that are read, at most."""

GRANT = 0.25
"""Seconds that this may take at once: of a short run every pass is read."""

BURST = 0.1
"""Seconds by which it may be ahead of its share of a pass: then nothing is read until they are paid for. Batches are read in
stretches, since what a batch costs on its way here is saved only while none is wanted."""

MOST_SETS = 4
"""Data sets whose samples are remembered at once; the one that was not read for longest gives way."""

TWO = 2

_TARGETS = ("labels", "label", "targets", "target", "y")


class Fingerprints(Collector):
    """Fingerprints of the input and the target of each sample, as the loader delivers them.

    Needs sample ids, and tensors whose first axis are the samples. A sample is compared with itself only: an id of another data
    set is another sample, and one of a `Subset` stands for the sample that it is in the whole. An input that is augmented
    differs in each epoch; then only the share of those that changed means something: all, as ever, or suddenly none.

    Where the steps are so short that this takes more than its share, whole passes over the loader are left out once the grant
    is spent, until the next can be paid for: what comes back different is then seen in the next pass that is read.

    Args:
        share: of the time of the training that this may take beyond the grant.
    """

    name = "fingerprints of the samples"
    each_step = True

    @property
    def asleep(self) -> bool:  # type: ignore[override]
        """True in a pass that is left out, and where nothing more of a pass can be paid for now."""
        return self._left_out > 0 or self._rests()

    def __init__(self, share: float = 0.001, within: float = 0.01) -> None:
        self._share, self._within = share, within
        self._sets: dict[int, _DataSet] = {}
        self._read: _DataSet | None = None  # the one that was read last
        self._source: Any = None
        self._began = self._spent = self._then = self._paid = 0.0
        self._passes = self._left_out = 0
        self._resting = False

    def delivered(self, batch: Batch, raw: Any) -> None:
        """Takes a few words of each sample; many batches are compared at once."""
        ids = batch.ids
        if ids is None or not len(ids):
            return
        if batch.source is not self._source:
            self._next_pass(batch.source, perf_counter())
        if self.asleep:
            return
        start = thread_time()  # what others do with the processor meanwhile is no cost of this
        self._take(ids, raw)
        self._spent += thread_time() - start

    def _next_pass(self, source: Any, now: float) -> None:
        """Decides which passes are read: the first two always, to have something to compare."""
        self._source = source
        if self._left_out:
            self._left_out -= 1
        elif self._passes >= TWO:
            each = self._spent / self._passes
            missing = self._spent + each - GRANT - self._share * (now - self._began)
            if missing > 0:  # so many passes as long as the last one earn it
                earned = self._share * max(now - self._then, 1e-9)
                self._left_out = min(MOST_LEFT_OUT, math.ceil(missing / earned))
        self._began = self._began or now
        self._then = now
        self._passes += not self._left_out
        self._paid, self._resting = max(self._spent, GRANT), False

    def _rests(self) -> bool:
        """True while what was read of this pass has still to be paid for; what is delivered meanwhile is not read."""
        ahead = self._spent - self._paid - self._within * (perf_counter() - self._then)
        self._resting = ahead > (0.0 if self._resting else BURST)
        if self._resting and self._read is not None:
            self._read.in_part = True
        return self._resting

    def _take(self, ids: NDArray[np.int64], raw: Any) -> None:
        samples: Samples | None = getattr(self._source, "samples", None)
        places = ids if samples is None else samples.places(ids)
        if places is None:
            return
        known = self._read = self._set(-1 if samples is None else samples.number)
        known.reads(self._passes)
        inputs, target = _parts(raw)
        if inputs is not None and inputs.dim() and len(inputs) == len(ids):
            known.inputs.add(places, words_of(inputs))
        if target is not None and target.dim() and len(target) == len(ids):
            words = words_of(target)
            known.targets.add(places, words)
            if words is not None and words.dtype != np.int64:
                known.labels = False

    def _set(self, number: int) -> _DataSet:
        known = self._sets.pop(number, None) or _DataSet()
        self._sets[number] = known  # the last one is the newest
        if len(self._sets) > MOST_SETS:
            del self._sets[next(iter(self._sets))]
        return known

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:  # noqa: ARG002 - a collector's signature
        """What came back different since the samples were seen before; nothing where no sample came back.

        Returns:
            `targets_compared`, `targets_changed`: counts; `target_changes`: the first ones, [id, label before, label now], or
            [id] where targets are no labels. `inputs_compared`, `inputs_changed`: counts. `fingerprinted_batches`: how many
            were read, where these or those of the pass before were not all: then some samples were not compared.
        """
        told: list[list[int]] = []
        counts = dict.fromkeys(("targets_compared", "targets_changed", "inputs_compared", "inputs_changed"), 0)
        for known in self._sets.values():
            for name, table in (("targets", known.targets.compared()), ("inputs", known.inputs.compared())):
                counts[f"{name}_compared"] += table.compared
                counts[f"{name}_changed"] += table.changed
                told += [[c.sample, _label(c.before), _label(c.now)] if known.labels else [c.sample] for c in table.changes]
                table.reset()
        fields: dict[str, Any] = {name: n for name, n in counts.items() if counts[f"{name.split('_')[0]}_compared"]}
        if told:
            fields["target_changes"] = told[:FIRST]
        if any(known.batches and known.compares_some for known in self._sets.values()):
            fields["fingerprinted_batches"] = sum(known.batches for known in self._sets.values())
        for known in self._sets.values():
            known.batches = 0
        return fields or None


class _DataSet:
    """What is remembered of the samples of one data set.

    Attributes:
        labels: targets are labels so far.
        batches: that were read in the epoch.
        in_part: not all batches of the pass that is on, or was the last one, were read.
    """

    def __init__(self) -> None:
        self.inputs = _Waiting(FingerprintTable())
        self.targets = _Waiting(FingerprintTable(keep=FIRST))
        self.labels = True
        self.batches = 0
        self.in_part = False
        self._before_in_part = False
        self._pass = 0

    @property
    def compares_some(self) -> bool:
        """True if not all samples of the pass can be compared."""
        return self.in_part or self._before_in_part

    def reads(self, number: int) -> None:
        """A batch is read in the pass of this number, counted from 1."""
        self.batches += 1
        if number != self._pass:
            self._pass, self._before_in_part, self.in_part = number, self.in_part, False
            for waiting in (self.inputs, self.targets):
                waiting.compared().next_pass(newest=self._before_in_part)


class _Waiting:
    """Samples that are compared a few thousand at once: a handful is not worth the calls.

    Args:
        table: what they are compared with.
    """

    def __init__(self, table: FingerprintTable) -> None:
        self._table = table
        self._pile: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
        self._count = 0

    def add(self, ids: NDArray[np.int64], words: NDArray[Any] | None) -> None:
        """A batch; words of another shape or type than those before close the pile."""
        if words is None:
            return
        if self._pile and (self._pile[0][1].dtype != words.dtype or self._pile[0][1].shape[1] != words.shape[1]):
            self.compared()
        self._pile.append((ids, words))  # at once: an interrupt may come before and after it
        self._count += len(ids)
        if self._count >= AT_ONCE:
            self.compared()

    def compared(self) -> FingerprintTable:
        """The table, with all samples so far."""
        pile, self._pile, self._count = self._pile, [], 0
        if pile:
            ids, words = (np.concatenate(part) for part in zip(*pile, strict=True))
            self._table.add(ids.astype(np.int64, copy=False), prints_of(words))
        return self._table


def _label(bits: int) -> int:
    return bits - 2**32 if bits >= 2**31 else bits


def _parts(raw: Any) -> tuple[Tensor | None, Tensor | None]:
    """Input and target where loaders put them: the first tensor, and the second element or a key that says so."""
    target: Any = None
    if isinstance(raw, (tuple, list)) and len(raw) > 1 and isinstance(raw[0], Tensor):
        return raw[0], raw[1] if isinstance(raw[1], Tensor) else None
    if isinstance(raw, Mapping):
        key = next((name for name in _TARGETS if name in raw), None)
        target = raw[key] if key is not None else None
        inputs = next((one for name, part in raw.items() if name != key for one in tensors_of(part)), None)
    elif isinstance(raw, Sequence) and not isinstance(raw, str):
        target = raw[1] if len(raw) > 1 else None
        inputs = next(tensors_of(raw[0]), None) if len(raw) else None
    else:
        inputs = next(tensors_of(raw), None)
    return inputs, target if isinstance(target, Tensor) else None
