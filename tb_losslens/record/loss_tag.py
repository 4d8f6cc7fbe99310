"""Answers which of the user's scalars is the training loss of each batch, and which the validation loss."""

from __future__ import annotations

import re
from functools import lru_cache

_HELD_OUT = re.compile(r"(^|[^a-z])(val|valid|validation|vali|test|eval|evaluation|dev|heldout|held_out|holdout)([^a-z]|$)")


@lru_cache(maxsize=1024)
def is_loss(tag: str) -> bool:
    """True if a tag's name says that it is a loss."""
    return "loss" in tag.lower() and not tag.startswith("losslens/")


@lru_cache(maxsize=1024)
def is_held_out(tag: str) -> bool:
    """True if a tag's name says that it is measured on held-out data: `Loss/val`, `val_loss`, `testLoss`."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", tag).lower()
    return _HELD_OUT.search(words) is not None


class LossTag:
    """Finds the tag of the training loss among those that are written.

    A tag is the loss if it is the only one with "loss" in its name, apart from held-out ones, that is written once a
    batch in two batches of one epoch. What an epoch writes once at its end is not: it is no loss of a batch.

    Args:
        tag: the user's own choice, or None to find it.
    """

    def __init__(self, tag: str | None = None) -> None:
        self.tag = tag
        self.ambiguous: tuple[str, ...] = ()
        self._seen: dict[str, tuple[int, int]] = {}  # tag: (epoch, rows in it)

    @property
    def undecided(self) -> bool:
        """True while the tag may still be found."""
        return self.tag is None and not self.ambiguous

    def may_be(self, tag: str) -> bool:
        """True if `tag` is the training loss, or may turn out to be."""
        if self.tag is not None:
            return tag == self.tag
        return not self.ambiguous and is_loss(tag) and not is_held_out(tag)

    def row(self, epoch: int, written: dict[str, int]) -> bool:
        """Takes note of a finished batch: how often each candidate was written in it. True if that decided it."""
        if not self.undecided:
            return False
        ready = []
        for tag, times in written.items():
            last, rows = self._seen.get(tag, (epoch, 0))
            rows = (rows + 1 if last == epoch else 1) if times == 1 else 0
            self._seen[tag] = (epoch, rows)
            if rows >= 2:
                ready.append(tag)
        if not ready:
            return False
        if len(ready) == 1:
            self.tag = ready[0]
        else:
            self.ambiguous = tuple(sorted(ready))
        return True

    def only(self) -> str | None:
        """The only tag ever seen, to be used where a run ends after its first batch."""
        return next(iter(self._seen)) if len(self._seen) == 1 else None
