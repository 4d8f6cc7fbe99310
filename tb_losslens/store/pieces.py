"""Which rows of which chunk to take, where chunks are doubled, overlap, or are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tb_losslens.events.codec import Chunk


@dataclass(frozen=True)
class Piece:
    """The rows of `chunk` from row `skip` on."""

    chunk: Chunk
    skip: int = 0

    def __len__(self) -> int:
        return self.chunk.count - self.skip


def resolve(chunks: Iterable[Chunk]) -> tuple[list[Piece], int]:
    """Pieces that hold each batch of one session once, in order, and the number of batches in the gaps between them.

    Of two chunks with the same batch the one that begins earlier gives it, then the longer one. A chunk without rows
    gives none, but the batches before it must have been there.
    """
    pieces, lost, end = [], 0, 0
    for chunk in sorted(chunks, key=lambda c: (c.first_batch, -c.count)):
        if chunk.end <= end:
            continue
        lost += max(0, chunk.first_batch - end)
        if chunk.count:
            pieces.append(Piece(chunk, max(0, end - chunk.first_batch)))
        end = chunk.end
    return pieces, lost
