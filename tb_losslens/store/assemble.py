"""Everything that was read of one run becomes one `Run`: sessions in order, one row for each batch, lists on demand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.events.codec import LENGTHS, Chunk, Record
from tb_losslens.store.columns import Stored, Trouble, join, stored_of
from tb_losslens.store.lists import Lists, gather
from tb_losslens.store.pieces import Hole, Piece, resolve
from tb_losslens.store.recording import Loss, Recording
from tb_losslens.store.run import Gap, Run, RunEvent

LIVE_SECONDS = 60.0
"""A session that was not closed counts as running for so long after its last write."""

_OUT_OF_SIGHT = ("facts", "closed", "unwritten")
"""Kinds of records that become facts and sessions, not events."""


@dataclass
class _Session:
    """One session while it is put together; `kept` are the indices of its batches that are rows of the run."""

    id: str
    pieces: list[Piece]
    records: list[Record]
    start: float
    holes: list[Hole]
    step: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    batch: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    keep: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    base: int = 0

    trouble: Trouble = field(default_factory=Trouble)
    stored: Stored | None = None
    columns: dict[str, NDArray[Any] | None] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        return any(record.kind == "closed" for record in self.records)

    @property
    def unknown(self) -> set[str]:
        """Columns that only a newer release can read."""
        return self.trouble.unknown.union(*(piece.chunk.unknown for piece in self.pieces))

    def column(self, name: str) -> NDArray[Any] | None:
        """Column `name` of all rows, also those left out; None if no chunk has it."""
        if name not in self.columns:
            if self.stored is None:
                self.stored = stored_of(self.pieces) or ()
            self.columns[name] = join(name, self.pieces, self.trouble, self.stored)
        return self.columns[name]


def assemble(name: str, recording: Recording, now: float | None = None) -> Run:
    """The run of a recording.

    Sessions are ordered by their start. From the first step of a session on, rows of older ones are left out and counted
    in `superseded`; what happened between two batches is moved to the row before which it happened. Doubles (a chunk
    that stands in the tail and in the event file) count once.
    """
    sessions = _sessions(recording)
    superseded = _supersede(sessions)
    columns = _columns(sessions)
    events: list[RunEvent] = []
    facts: dict[str, Any] = {}
    lists: set[str] = {"sample_ids"} if recording.has_ids else set()
    for session in sessions:
        events += _events(session)
        for record in session.records:
            if record.kind == "facts":
                lists.update(record.fields.get("lists", ()))
                facts.update({key: value for key, value in record.fields.items() if key != "lists"})
    last_write = max([recording.last_write, *(_last_time(session) for session in sessions)])
    live = bool(sessions) and not sessions[-1].closed and (time.time() if now is None else now) - last_write < LIVE_SECONDS
    return Run(
        name,
        columns,
        _lists(sessions, recording, lists),
        tuple(events),
        facts,
        recording.problems(
            [_loss(session) for session in sessions],
            sum(session.trouble.damaged for session in sessions),
            {name for session in sessions for name in session.unknown},
        ),
        tuple(_summary(session) for session in sessions),
        superseded,
        tuple(gap for session in sessions for gap in _gaps(session)),
        recording.unread if not any(len(session.batch) for session in sessions) else "",
        live,
    )


def _loss(session: _Session) -> Loss:
    """What is missing of one session, and why if its writer could say."""
    why = [str(record.fields.get("why", "")) for record in session.records if record.kind == "unwritten"]
    return Loss(session.id, len(session.batch), tuple(session.holes), why[-1] if why else "")


def _gaps(session: _Session) -> list[Gap]:
    """The holes of a session between rows of the run, or at its end; what lies behind the last row kept of it is overtaken."""
    if not session.holes:
        return []
    kept = session.batch[session.keep]
    newest = int(kept[-1]) if len(kept) else -1
    return [
        Gap(session.base + int(np.searchsorted(kept, first)), end - first)
        for first, end in session.holes
        if session.keep.all() or first < newest
    ]


def _sessions(recording: Recording) -> list[_Session]:
    chunks: dict[str, list[Chunk]] = {}
    starts: dict[str, float] = {}
    for chunk in recording.chunks:
        chunks.setdefault(chunk.session, []).append(chunk)
    for tail in recording.tails:
        starts[tail.session] = tail.start
        chunks.setdefault(tail.session, []).extend(tail.chunks)
    sessions = []
    for key, found in chunks.items():
        pieces, holes = resolve(found)
        records = list({(r.kind, r.batch, r.time, r.text): r for chunk in found for r in chunk.records}.values())
        records.sort(key=lambda record: (record.batch, record.time))
        start = next((float(r.fields["start"]) for r in records if r.kind == "facts" and "start" in r.fields), None)
        if start is None:
            start = starts.get(key, records[0].time if records else 0.0)
        sessions.append(_Session(key, pieces, records, start, holes))
    sessions.sort(key=lambda session: (session.start, session.id))
    return sessions


def _supersede(sessions: list[_Session]) -> int:
    """Fills `step`, `batch`, `keep` and `base` of each session; returns how many rows are left out."""
    cut = np.iinfo(np.int64).max
    superseded = 0
    for session in reversed(sessions):
        parts = [np.arange(p.chunk.first_batch + p.skip, p.chunk.end, dtype=np.int64) for p in session.pieces]
        session.batch = np.concatenate(parts) if parts else np.empty(0, np.int64)
        session.step = _steps(session.column("step"), session.batch)
        session.keep = session.step < cut
        superseded += int((~session.keep).sum())
        if len(session.step):
            cut = min(cut, int(session.step[0]))
    base = 0
    for session in sessions:
        session.base = base
        base += int(session.keep.sum())
    return superseded


def _steps(step: NDArray[Any] | None, batch: NDArray[np.int64]) -> NDArray[np.int64]:
    """The user's own steps; where one is unknown, the batch."""
    if step is None:
        return batch
    unknown = step == -1 if step.dtype.kind == "i" else ~np.isfinite(step)
    if not unknown.any():
        return step.astype(np.int64, copy=False)
    return np.where(unknown, batch, np.where(unknown, 0, step).astype(np.int64))


def _columns(sessions: list[_Session]) -> dict[str, NDArray[Any]]:
    with_rows = [session for session in sessions if session.keep.any()]
    names = _names(with_rows)
    lists = {key for name in names if name.endswith(LENGTHS) for key in (name, name.removesuffix(LENGTHS))}
    out = {}
    for name in names:
        if name in lists:
            continue
        parts = [(session.column(name), session.keep) for session in with_rows]
        known = [part.dtype for part, _ in parts if part is not None]
        if not known:
            continue
        integer = all(dtype.kind == "i" for dtype in known)
        arrays = [_rows(part, keep, integer=integer) for part, keep in parts]
        out[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if sessions:
        out["step"] = np.concatenate([session.step[session.keep] for session in sessions])
    return out


def _names(sessions: list[_Session]) -> list[str]:
    """Names of all columns, in the order in which they came up."""
    names: dict[str, None] = {}
    layouts: set[tuple[str, ...]] = set()
    for session in sessions:
        for piece in session.pieces:
            layout = tuple(piece.chunk.columns)
            if layout not in layouts:
                layouts.add(layout)
                names.update(dict.fromkeys(layout))
    return list(names)


def _rows(part: NDArray[Any] | None, keep: NDArray[np.bool_], *, integer: bool) -> NDArray[Any]:
    """The rows that are kept of one session's column, among columns that are all integers or not."""
    if part is None:
        return np.full(int(keep.sum()), -1 if integer else np.nan, np.int64 if integer else np.float32)
    kept = part if keep.all() else part[keep]
    if integer or kept.dtype.kind == "f":
        return kept
    return np.where(kept == -1, np.nan, kept.astype(np.float64))


def _events(session: _Session) -> list[RunEvent]:
    """Records with the row of the run before which they happened; those of rows that are left out go with them."""
    kept = session.batch[session.keep]
    newest = int(kept[-1]) + 1 if len(kept) else 0
    cut = not session.keep.all()
    out = []
    for record in session.records:
        if record.kind in _OUT_OF_SIGHT or (cut and record.batch > newest):
            continue
        row = session.base + int(np.searchsorted(kept, record.batch))
        out.append(RunEvent(record.kind, row, record.step, record.time, record.text, record.fields))
    return out


def _lists(sessions: list[_Session], recording: Recording, large: set[str]) -> Mapping[str, Any]:
    rows = [(session.id, session.batch[session.keep]) for session in sessions]
    small = {name.removesuffix(LENGTHS) for name in _names(sessions) if name.endswith(LENGTHS)} - large
    chunks = [piece.chunk for session in sessions for piece in session.pieces]
    tails = [chunk for tail in recording.tails for chunk in tail.chunks]
    eager = {name: gather(name, rows, chunks) for name in sorted(small)}

    def load() -> dict[str, Any]:
        found = [*recording.ids(), *tails]
        return {name: gather(name, rows, found) for name in sorted(large)}

    return Lists(eager, frozenset(large), load)


def _last_time(session: _Session) -> float:
    times = session.column("time")
    newest = float(times[-1]) if times is not None and len(times) and np.isfinite(times[-1]) else 0.0
    return max([newest, *(record.time for record in session.records)])


def _summary(session: _Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "first_step": int(session.step[0]) if len(session.step) else None,
        "last_step": int(session.step[-1]) if len(session.step) else None,
        "batches": len(session.step),
        "start": session.start,
        "closed": session.closed,
    }
