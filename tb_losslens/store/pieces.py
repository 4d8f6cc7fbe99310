"""Which rows of which chunk to take, where chunks are doubled, overlap, or are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tb_losslens.events.codec import Chunk


@dataclass(frozen=True)
class Piece:
    """The rows of `chunk` from row `skip` on."""

    chunk: Chunk
    skip: int = 0

    def __len__(self) -> int:
        return self.chunk.count - self.skip


Hole = tuple[int, int]
"""Batches `first <= i < end` of a session that are in no chunk."""


def resolve(chunks: Iterable[Chunk]) -> tuple[list[Piece], list[Hole]]:
    """Pieces that hold each batch of one session once, in order, and the holes between them.

    Of two chunks with the same batch the one that begins earlier gives it, then the longer one. A chunk without rows
    gives none, but the batches before it must have been there.
    """
    pieces: list[Piece] = []
    holes: list[Hole] = []
    end = 0
    for chunk in sorted(chunks, key=lambda c: (c.first_batch, -c.count)):
        if chunk.end <= end:
            continue
        if chunk.first_batch > end:
            holes.append((end, chunk.first_batch))
        if chunk.count:
            pieces.append(Piece(chunk, max(0, end - chunk.first_batch)))
        end = chunk.end
    return pieces, _joined(holes, pieces)


def _joined(holes: Sequence[Hole], pieces: Sequence[Piece]) -> list[Hole]:
    """Holes with nothing but a chunk without rows between them as one."""
    filled = {piece.chunk.first_batch for piece in pieces}
    out: list[Hole] = []
    for first, end in holes:
        if out and out[-1][1] == first and first not in filled:
            out[-1] = (out[-1][0], end)
        else:
            out.append((first, end))
    return out
