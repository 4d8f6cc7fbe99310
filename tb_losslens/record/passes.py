"""Goes over a wrapped loader once, and reports each batch that the loop takes."""

from __future__ import annotations

from _thread import interrupt_main
from contextlib import nullcontext
from threading import Timer
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tb_losslens.record.batch import Batch, describe
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.data_sets import Samples
from tb_losslens.record.guard import Guard
from tb_losslens.record.loader_facts import loader_facts
from tb_losslens.record.order import OrderDigest
from tb_losslens.record.sampler_tap import Trail, tapped, unknown_ids, untap
from tb_losslens.record.signals.rng import worker_seed

_MOMENT = 0.001


class Pass:
    """One iteration over a wrapped loader, from its first batch on.

    Attributes:
        loader: facts of the loader.
        samples: what its sample ids stand for, None where that is not known.
        owner: stands for the wrapped loader, to tell two loaders apart.
        split: "train" or "val".
        epoch: number of the epoch, None until its first batch is trained on.
        pulled: batches that the loop has taken.
        consumed: batches that were trained on.
        exhausted: True if the loader had no more batches.
        dropped: True if the loop is gone, exhausted or not.
        digest: of the ids of the batches that were consumed.
    """

    __slots__ = (
        "__weakref__",
        "consumed",
        "digest",
        "dropped",
        "ended",
        "epoch",
        "exhausted",
        "loader",
        "owner",
        "pulled",
        "samples",
        "split",
    )

    def __init__(self, owner: object, split: str, loader: dict[str, Any]) -> None:
        self.owner = owner
        self.split = split
        self.loader = loader
        self.samples: Samples | None = None
        self.epoch: int | None = None
        self.pulled = 0
        self.consumed = 0
        self.exhausted = False
        self.dropped = False
        self.ended = False
        self.digest = OrderDigest()


class Shortcut(Protocol):
    """The short way for plain batches."""

    @property
    def on(self) -> bool:
        """Batches may be taken."""

    def pulled(self, source: Pass, trail: Trail | None, wait: float, raw: Any, now: float) -> bool:
        """The loop took a batch, and it is now this time; False if it has to be reported."""


class Listener(Protocol):
    """Who is told about batches."""

    @property
    def lane(self) -> Shortcut:
        """Takes plain batches without a report."""

    def samples_of(self, loader: Any) -> Samples | None:
        """What the sample ids of `loader` stand for."""

    def express(self, source: Pass, ids: NDArray[np.int64] | None, wait: float, raw: Any) -> int | None:
        """The loop took a batch: None if nothing more needs to be told about it, else whether its row is dense."""

    def pulled(self, source: Pass, batch: Batch, raw: Any) -> None:
        """The loop took a batch: what it is made of, and the batch itself, which is not to be kept."""

    def exhausted(self, source: Pass) -> None:
        """The loop came to the end of the loader."""

    def dropped(self, source: Pass) -> None:
        """The loop let go of the iterator."""


class _Inside:
    """What every batch needs, in places that native.c finds."""

    __slots__ = ("_losslens_iterator", "_losslens_lane", "_losslens_pass", "_losslens_trail")


class PassIterator(_Inside):
    """Iterates a loader once and reports each batch; every other attribute is that of the loader's own iterator."""

    def __init__(self, loader: Any, owner: object, split: str, listener: Listener, guard: Guard) -> None:
        self._losslens_guard = guard
        self._losslens_listener = listener
        self._losslens_lane = listener.lane
        self._losslens_pass = Pass(owner, split, guard.call("loader facts", loader_facts, loader) or {})
        samples = guard.call("data set", listener.samples_of, loader) if split == "train" else None
        if samples is not None:
            self._losslens_pass.samples, self._losslens_pass.loader["data"] = samples, samples.number
        self._losslens_trail: Trail | None = None
        self._losslens_loader = loader
        reason = guard.call("sample ids", unknown_ids, loader)
        if reason == "" and guard.alive:
            self._losslens_trail = Trail(int(getattr(loader, "skip_batches", 0) or 0))
        if reason:
            self._losslens_pass.loader["ids"] = reason
        start = perf_counter()
        with self._window():
            self._losslens_iterator = iter(loader)
        self._losslens_started_in = perf_counter() - start  # workers start here: the first batch waits for them
        if self._losslens_trail is not None:
            untap(self._losslens_iterator)
        self._losslens_pass.loader.update(guard.call("seed of the workers", worker_seed, self._losslens_iterator) or {})

    def _window(self) -> Any:
        """Open while the loader may start its own iterator: at once, or at the first batch where it is a generator."""
        trail = self._losslens_trail
        if trail is None or trail.started or self._losslens_pass.pulled:
            return nullcontext()
        return tapped(self._losslens_loader, trail)

    def __iter__(self) -> PassIterator:
        return self

    def __next__(self) -> Any:
        start = perf_counter()
        try:
            if self._losslens_trail is None or self._losslens_pass.pulled:
                batch = next(self._losslens_iterator)
            else:
                with self._window():
                    batch = next(self._losslens_iterator)
        except StopIteration:
            self._losslens_over()
            raise
        now = perf_counter()
        self._losslens_took(batch, now - start, now)
        return batch

    def _losslens_over(self) -> None:
        self._losslens_guard.call("loader", self._end)

    def _losslens_took(self, batch: Any, wait: float, now: float) -> None:
        lane = self._losslens_lane
        if lane.on and lane.pulled(self._losslens_pass, self._losslens_trail, wait, batch, now):
            return
        wait, self._losslens_started_in = wait + self._losslens_started_in, 0.0
        self._losslens_guard.call("loader", self._report, batch, wait)

    def _report(self, batch: Any, wait: float) -> None:
        source, trail = self._losslens_pass, self._losslens_trail
        ids = trail.next() if trail is not None else None
        if trail is not None and ids is None:
            why = "the sampler gives no integers" if trail.started else "the loader was iterated before"
            source.loader.setdefault("ids", why)
        source.pulled += 1
        dense = self._losslens_listener.express(source, ids, wait, batch)
        if dense is None:
            return
        seen = describe(batch, targets=dense != SPARSE)
        seen.ids, seen.wait, seen.index, seen.source, seen.dense = ids, wait, source.pulled - 1, source, dense
        self._losslens_listener.pulled(source, seen, batch)

    def _end(self) -> None:
        self._losslens_pass.exhausted = True
        self._losslens_listener.exhausted(self._losslens_pass)

    def __len__(self) -> int:
        length: int = len(self._losslens_iterator)
        return length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_losslens"):
            raise AttributeError(name)
        return getattr(self._losslens_iterator, name)

    def __del__(self) -> None:
        guard = self.__dict__.get("_losslens_guard")
        source = getattr(self, "_losslens_pass", None)
        if guard is None or source is None:
            return  # the loader's own __iter__ raised
        source.dropped = True
        listener = self._losslens_listener
        try:
            # the garbage collector may come here in the middle of anything
            guard.when_idle(lambda: guard.call("loader", listener.dropped, source))
        except KeyboardInterrupt:
            # Python lets nothing out of here: the loop is interrupted a moment later
            Timer(_MOMENT, interrupt_main).start()
