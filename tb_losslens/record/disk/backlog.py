"""What waits to be written to an event file, above all while that fails: the newest is kept, older things give way."""

from __future__ import annotations

from collections.abc import Callable

KEPT_CHUNKS = 4
"""Chunks that are kept while nothing can be written: of the six segments, one is being filled and one is on its way."""

KEPT_BYTES = 64 << 10
"""Bytes of other events that are kept: the scalars of a while, and no picture that alone would fill what room there is."""

Done = Callable[[bool], None]
Entry = tuple[bytes, Done | None]


class Backlog:
    """Records of an event file in their order. Used by one thread."""

    def __init__(self) -> None:
        self._waiting: list[Entry] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: bytes, done: Done | None = None) -> None:
        """Appends framed records; `done(written)`, which a chunk has, is called once."""
        self._waiting.append((data, done))

    @property
    def data(self) -> bytes:
        """All of them."""
        return b"".join([data for data, _ in self._waiting])

    def chunks(self, *, last_first: bool) -> list[Entry]:
        """The chunks among them, in order; with `last_first` the newest, which says how the recording ended, comes first."""
        found = [entry for entry in self._waiting if entry[1] is not None]
        return [*found[-1:], *found[:-1]] if last_first else found

    def written(self, entries: list[Entry] | None = None) -> None:
        """These, by default all, stand in the file."""
        gone = self._waiting if entries is None else entries
        self._waiting = [] if entries is None else [entry for entry in self._waiting if entry not in entries]
        for _, done in gone:
            if done is not None:
                done(True)

    def shed(self) -> None:
        """Lets go of what is over the limits, the oldest first."""
        chunks, size, kept = 0, 0, []
        gone: list[Done] = []
        for data, done in reversed(self._waiting):
            if done is not None:
                chunks += 1
                fits = chunks <= KEPT_CHUNKS
            else:
                size += len(data)
                fits = size <= KEPT_BYTES
            if fits:
                kept.append((data, done))
            elif done is not None:
                gone.append(done)
        self._waiting = kept[::-1]
        for done in reversed(gone):
            done(False)

    def give_up(self) -> None:
        """Nothing will be written any more."""
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if done is not None:
                done(False)
