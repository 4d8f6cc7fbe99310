"""What was read of one run, before it is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tb_losslens.events.codec import Chunk
from tb_losslens.events.tail import Tail


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
        cut: event files whose last record is not complete.
        unreadable: sentences on files that could not be opened.
        last_write: seconds since 1970.
    """

    chunks: list[Chunk] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    ids: Callable[[], Iterable[Chunk]] = tuple
    has_ids: bool = False
    corrupt: int = 0
    newer: dict[int, int] = field(default_factory=dict)
    cut: int = 0
    unreadable: list[str] = field(default_factory=list)
    last_write: float = 0.0

    def problems(self, lost: dict[str, tuple[int, int]], damaged: int, unknown: set[str], *, live: bool) -> tuple[str, ...]:
        """Sentences on what could not be read.

        Args:
            lost: by session, how many batches lie in its gaps, and how many there should be.
            damaged: columns that turned out to be damaged.
            unknown: columns that only a newer release reads.
            live: true if the run is still being written, so that its last record may well be cut.
        """
        out = list(self.unreadable)
        if self.corrupt + damaged:
            corrupt = _count(self.corrupt + damaged, "chunk is", "chunks are")
            out.append(f"{corrupt} damaged and left out; the rest is shown.")
        for found, chunks in sorted(self.newer.items()):
            out.append(
                f"{_count(chunks, 'chunk was', 'chunks were')} written by a newer LossLens (format {found}) "
                "and left out: upgrade tb_losslens to read them."
            )
        for session, (missing, all_of_them) in lost.items():
            if missing:
                out.append(f"{_count(missing, 'batch', 'batches')} of {all_of_them} could not be read in session {session}.")
        if unknown:
            names = ", ".join(sorted(unknown))
            out.append(f"{_count(len(unknown), 'column', 'columns')} can only be read by a newer LossLens: {names}.")
        if self.cut and not live:
            out.append(f"The last record of {_count(self.cut, 'event file', 'event files')} is cut short and left out.")
        return tuple(out)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
