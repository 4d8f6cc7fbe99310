"""One recorded run in memory: the narrow waist between everything that reads logs and everything that judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EMPTY: Mapping[str, Any] = MappingProxyType({})

_FIRST = 1000
"""Values of a column that are looked at first: a signal that was recorded is known there, nearly always."""

_KEPT = 6
"""Columns of a run that are kept as float64."""


@dataclass(frozen=True)
class Ragged:
    """A list of values for each batch.

    Attributes:
        values: shape (total,) or (total, k): the lists one after the other.
        offsets: int64, shape (n + 1,): batch i owns `values[offsets[i]:offsets[i + 1]]`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def from_lists(cls, lists: list[Any]) -> Ragged:
        """From one array-like a batch; empty lists are kept."""
        arrays = [np.asarray(item) for item in lists]
        offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
        full = [a for a in arrays if len(a)]
        return cls(np.concatenate(full) if full else np.empty(0), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, batch: int) -> NDArray[Any]:
        return self.values[self.offsets[batch] : self.offsets[batch + 1]]


@dataclass(frozen=True)
class RunEvent:
    """Something that happened between two batches.

    Attributes:
        kind: epoch_begin, epoch_end, validation_begin, validation_end, save, restore, lr_change, config_change, note,
            facts or a newer kind.
        batch: row of the run before which it happened, 0..n.
        step: the user's own step there.
        time: seconds since 1970.
        text: one line for a reader.
        fields: what else is known.
    """

    kind: str
    batch: int
    step: int = 0
    time: float = 0.0
    text: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ends_validation(self) -> bool:
        """True for the end of a validation that was announced, or whose loss is known.

        A model that is only called without gradients draws samples, makes labels or estimates statistics.
        """
        return self.kind == "validation_end" and not (self.fields.get("implicit") and self.fields.get("value") is None)


@dataclass(frozen=True)
class Gap:
    """A hole in the recording: `batches` batches that were trained on and are not here, right before row `row` (0..n)."""

    row: int
    batches: int


@dataclass(frozen=True)
class Validation:
    """One evaluation: `batch` is the row before which it ended, `value` its loss, the rest None where unknown."""

    batch: int
    step: int
    epoch: int
    value: float
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One pass over the loader, as rows `first <= row < last` of the run; `fields` are its facts (see `Run.epochs`)."""

    epoch: int
    first: int
    last: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class Run:
    """Every batch of one training, in the order in which they were trained on.

    A row is a batch of training. Rows of a session that a newer session in the same directory overtook are not here,
    only counted.

    Attributes:
        name: run name as TensorBoard shows it.
        columns: one array of length n for each signal (names: events/columns.py); missing values are NaN, or -1 in
            integer columns.
        ragged: one `Ragged` of length n for each list-valued signal. May load lazily.
        events: in the order of time.
        facts: run-level facts: `loss_source`, `batches_per_epoch`, `dataset_size`, `shuffle`, `config`, `model`, ...
            `model` is `{"class", "dropout", "batchnorm"}` (how many modules change with the mode: dropout with p > 0,
            any normalisation by batch statistics), `scheduler` is `{"class", ...}` with the numbers of the LR scheduler,
            `criterion` is `{"class", "reduction"}`; each is absent where unknown.
        problems: sentences on what could not be read, each with a count.
        sessions: one mapping for each writer that wrote here: id, first_step, last_step, batches, start, closed.
        gaps: where batches are missing, because they could not be written or read; the rows on both sides are no neighbours.
        unread: one sentence on why a recording has no batch here, where that is known: "" elsewhere.
        superseded: rows left out because a newer session began at or before their step.
        live: true if the last session was not closed and wrote a moment ago.
        plain: true if this was made from ordinary scalars, not from a LossLens recording.
    """

    name: str
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    ragged: Mapping[str, Ragged] = field(default_factory=dict)
    events: tuple[RunEvent, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    sessions: tuple[Mapping[str, Any], ...] = ()
    superseded: int = 0
    gaps: tuple[Gap, ...] = ()
    unread: str = ""
    live: bool = False
    plain: bool = False

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"every column of run {self.name!r} must have the same length, got {lengths}")

    @classmethod
    def from_arrays(cls, name: str = "run", *, epoch_length: int | None = None, **columns: Any) -> Run:
        """A run from arrays of equal length: `Run.from_arrays(loss=losses, epoch_length=100)`.

        `epoch_length` (batches) fills `epoch` and `index` where they are not given. `step` defaults to the row.
        """
        arrays = {key: np.asarray(value) for key, value in columns.items()}
        n = len(next(iter(arrays.values()))) if arrays else 0
        rows = np.arange(n, dtype=np.int64)
        arrays.setdefault("step", rows)
        if epoch_length is not None:
            arrays.setdefault("epoch", rows // epoch_length)
            arrays.setdefault("index", rows % epoch_length)
        return cls(name, arrays)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def has(self, name: str) -> bool:
        """True if signal `name` holds at least one known value."""
        if name in self.ragged:
            return len(self.ragged[name].values) > 0
        column = self.columns.get(name)
        if column is None or not len(column):
            return False
        return any(_any_known(part) for part in (column[:_FIRST], column))

    def recorded(self, name: str) -> bool:
        """True if signal `name` was recorded at all; `has` is false of one that is NaN in every batch, as a loss may be."""
        return name in self.columns or name in self.ragged or (name == "loss" and "loss_source" in self.facts)

    def continuous(self, first: int, last: int) -> bool:
        """True if no batch is missing between the rows `first <= row < last`."""
        return not any(first < gap.row < last for gap in self.gaps)

    def float(self, name: str) -> NDArray[np.float64]:
        """Column `name` as float64, shape (n,); NaN where unknown, all NaN if the column is missing. Nobody can write to it."""
        column = self.columns.get(name)
        if column is None:
            return np.broadcast_to(np.float64(np.nan), len(self))
        kept = self._floats.get(name)
        if kept is not None:
            return kept
        out: NDArray[np.float64] = column.astype(np.float64, copy=False).view()
        if column.dtype.kind == "i" and name not in ("step",):
            unknown = column == -1
            if unknown.any():
                out[unknown] = np.nan
        out.flags.writeable = False
        if len(self._floats) >= _KEPT:
            self._floats.clear()
        self._floats[name] = out
        return out

    @cached_property
    def _floats(self) -> dict[str, NDArray[np.float64]]:
        """The columns that were asked for last: many ask for the same few."""
        return {}

    @property
    def loss(self) -> NDArray[np.float64]:
        """Raw batch loss, float64, shape (n,)."""
        return self.float("loss")

    @property
    def step(self) -> NDArray[np.int64]:
        """The user's own step of each row; the row itself where it is unknown. Nobody can write to it."""
        column = self.columns.get("step")
        out: NDArray[np.int64] = np.arange(len(self), dtype=np.int64) if column is None else column.astype(np.int64, copy=False)
        out = out.view()
        out.flags.writeable = False
        return out

    @cached_property
    def epochs(self) -> tuple[Epoch, ...]:
        """The passes over the data, in order, from the `epoch` column; empty if it was not recorded.

        `fields` come from the matching `epoch_end` event: `order_hash`, `set_hash` (hex text, None where ids are
        unknown), `first_ids`, `last_ids`, `batches`, `complete` (False if the loop broke out), `loader` (class,
        batch_size, shuffle, drop_last, workers, sampler, generator, dataset_size).
        """
        column = self.columns.get("epoch")
        if column is None or not len(column):
            return ()
        starts = self._epoch_starts(column)
        ends = np.append(starts[1:], len(column))
        # several may end at one row: whole epochs may be missing there
        facts = {(e.batch, e.fields.get("epoch")): e.fields for e in self.events if e.kind == "epoch_end"}
        found = zip(column[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
        return tuple(
            Epoch(int(number), a, b, facts.get((b, int(number)), facts.get((b, None), _EMPTY)) if facts else _EMPTY)
            for number, a, b in found
            if number >= 0
        )

    def _epoch_starts(self, column: NDArray[Any]) -> NDArray[np.int64]:
        change = np.ones(len(column), dtype=bool)
        change[1:] = column[1:] != column[:-1]
        index = self.columns.get("index")
        if index is not None:  # the same epoch number twice in a row is two passes
            change[1:] |= (index[1:] == 0) & (index[:-1] > 0)
        return np.flatnonzero(change).astype(np.int64)

    @cached_property
    def config_changes(self) -> tuple[NDArray[np.int64], tuple[RunEvent, ...]]:
        """The `config_change` events by row, and the rows: int64, shape (events,), sorted."""
        events = sorted((e for e in self.events if e.kind == "config_change"), key=lambda e: e.batch)
        return np.array([e.batch for e in events], dtype=np.int64), tuple(events)

    @cached_property
    def validations(self) -> tuple[Validation, ...]:
        """Every evaluation with a value, in order, from `validation_end` events (field `value`).

        Other fields where known: `n`, `epoch`, `train_mode` (mode of the forwards inside it, as in the column) and
        `bn_updates` (updates of the running statistics of any normalisation layer during it; 0 is right).
        """
        return tuple(
            Validation(e.batch, e.step, int(e.fields.get("epoch", -1)), float(e.fields["value"]), e.fields)
            for e in self.events
            if e.kind == "validation_end" and e.fields.get("value") is not None
        )


def _any_known(values: NDArray[Any]) -> bool:
    if values.dtype.kind == "f":
        return not bool(np.isnan(values).all())
    return bool((values != -1).any()) if values.dtype.kind == "i" else len(values) > 0
