"""What was read of one run, before it is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tb_losslens.events.codec import Chunk
from tb_losslens.events.tail import Tail

_MOST_HOLES = 4
"""Holes of a session that a sentence names."""


class Loss(NamedTuple):
    """What is missing of a session: `batches` are here, `holes` (first, end) are not; `why` is "" where unknown."""

    session: str
    batches: int
    holes: tuple[tuple[int, int], ...] = ()
    why: str = ""


@dataclass
class Recording:
    """What was read of one run.

    Attributes:
        chunks: of batch columns and records, in any order, doubles allowed.
        tails: those that stand beside the event files.
        ids: reads the chunks of large lists (ids); called once, when they are asked for.
        has_ids: false if there are none.
        corrupt: chunks that could not be read.
        newer: chunks in a newer format, by format.
        without_ids: batches whose ids, or other large lists, are damaged or in a newer format, though their columns are not.
        cut: bytes of the last record of each event file that ends within it.
        records: complete records in the event files, ours and others, but for the one that each file begins with.
        nothing_in: event files in which no event is complete: their names and bytes.
        unreadable: sentences on files that could not be opened.
        last_write: seconds since 1970.
    """

    chunks: list[Chunk] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    ids: Callable[[], Iterable[Chunk]] = tuple
    has_ids: bool = False
    corrupt: int = 0
    newer: dict[int, int] = field(default_factory=dict)
    without_ids: int = 0
    cut: list[int] = field(default_factory=list)
    records: int = 0
    nothing_in: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    last_write: float = 0.0

    @property
    def anything(self) -> bool:
        """True if there is something of ours, or nothing that anybody could read."""
        nothing = self.nothing_in and not self.records
        return bool(self.chunks or self.tails or self.corrupt or self.newer or nothing)

    @property
    def unread(self) -> str:
        """One sentence on why no batch is here; "" if none may have been recorded."""
        if self.newer:
            return f"Written by a newer LossLens (format {max(self.newer)}): update tb_losslens to read it."
        if self.unreadable:
            return self.unreadable[0]
        if self.corrupt or self.cut or self._lost_files:
            return "The recording is damaged: no batch of it can be read."
        return ""

    @property
    def _lost_files(self) -> dict[str, int]:
        """Those of `nothing_in` that held something: an empty one beside others, or beside a tail, was never flushed."""
        beside = bool(self.chunks or self.tails)
        return {name: size for name, size in self.nothing_in.items() if size or not beside}

    def problems(self, losses: Sequence[Loss], damaged: int, unknown: set[str]) -> tuple[str, ...]:
        """Sentences on what could not be read.

        Args:
            losses: what is missing, by session.
            damaged: columns that turned out to be damaged.
            unknown: columns that only a newer release reads.
        """
        out = list(self.unreadable)
        if self.corrupt + damaged:
            corrupt = _count(self.corrupt + damaged, "chunk is", "chunks are")
            rest = "; the rest is shown" if any(loss.batches for loss in losses) else ""
            out.append(f"{corrupt} damaged and left out{rest}.")
        for found, chunks in sorted(self.newer.items()):
            out.append(
                f"{_count(chunks, 'chunk was', 'chunks were')} written by a newer LossLens (format {found}) "
                "and left out: update tb_losslens to read them."
            )
        out += [_lost(loss) for loss in losses if loss.holes]
        if self.without_ids:
            out.append(f"The sample ids of {_count(self.without_ids, 'batch', 'batches')} could not be read.")
        if unknown:
            names = ", ".join(sorted(unknown))
            out.append(f"{_count(len(unknown), 'column', 'columns')} can only be read by a newer LossLens: {names}.")
        whole = bool(self.tails) and not any(loss.holes for loss in losses)
        for size in () if whole else self.cut:  # a process that is killed as it writes leaves the same rows in its tail
            out.append(f"An event file ends within a record: {_count(size, 'byte', 'bytes')} of it are left out.")
        for name, size in self._lost_files.items():
            out.append(f"{name} holds no complete event ({_count(size, 'byte', 'bytes')}): nothing of it can be read.")
        return tuple(out)


def _lost(loss: Loss) -> str:
    missing = sum(end - first for first, end in loss.holes)
    named = [f"{first:,}" if end == first + 1 else f"{first:,} to {end - 1:,}" for first, end in loss.holes[:_MOST_HOLES]]
    more = len(loss.holes) - len(named)
    where = ", ".join(named) + (f" and {_count(more, 'more place', 'more places')}" if more else "")
    why = f"could not be written ({loss.why})" if loss.why else "could not be read"
    return f"{missing:,} of {_count(missing + loss.batches, 'batch', 'batches')} {why} in session {loss.session}: {where}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
