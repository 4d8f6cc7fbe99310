"""Answers which of the user's scalars is the training loss of each batch, and which the validation loss."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

_HELD_OUT = re.compile(r"(^|[^a-z])(val|valid|validation|vali|test|eval|evaluation|dev|heldout|held_out|holdout)([^a-z]|$)")

_TOTAL = frozenset({"total", "overall"})
_PLAIN = frozenset({"loss", "losses", "train", "training", "trn", "tr", "batch", "step", "iter", "iteration"})


@lru_cache(maxsize=1024)
def is_loss(tag: str) -> bool:
    """True if a tag's name says that it is a loss."""
    return "loss" in tag.lower() and not tag.startswith("losslens/")


@lru_cache(maxsize=1024)
def is_held_out(tag: str) -> bool:
    """True if a tag's name says that it is measured on held-out data: `Loss/val`, `val_loss`, `testLoss`."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", tag).lower()
    return _HELD_OUT.search(words) is not None


def total_of(tags: Collection[str]) -> str | None:
    """The one of several tags whose name says that it is the whole loss, None where no name, or more than one, says so.

    That is `total` or `overall` as a word of it, else a name of nothing but "loss" and where it is measured: `loss`,
    `train/loss`, `Loss/train`, beside `train/loss_cls`.
    """
    words = {tag: frozenset(re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", tag).lower())) for tag in tags}
    whole = [tag for tag in tags if words[tag] & _TOTAL] or [tag for tag in tags if words[tag] <= _PLAIN]
    return whole[0] if len(whole) == 1 else None


class LossTag:
    """Finds the tag of the training loss among those that are written.

    A tag may be the loss if it has "loss" in its name, is none of a held-out one, and is written once a batch in two
    batches of one epoch. What an epoch writes once at its end is not: it is no loss of a batch. Of several, it is the one
    whose values are those of the loss that is known otherwise, else the one whose name says so.

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

    def row(self, epoch: int, written: dict[str, int], equal: Collection[str] = ()) -> bool:
        """Takes note of a finished batch; True if that decided it.

        Args:
            epoch: its epoch.
            written: how often each candidate was written in it.
            equal: those with the value that its loss is known to have.
        """
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
        same = [tag for tag in ready if tag in equal]
        self.tag = ready[0] if len(ready) == 1 else same[0] if len(same) == 1 else total_of(ready)
        if self.tag is None:
            self.ambiguous = tuple(sorted(ready))
        return True

    def only(self) -> str | None:
        """The only tag ever seen, to be used where a run ends after its first batch."""
        return next(iter(self._seen)) if len(self._seen) == 1 else None
