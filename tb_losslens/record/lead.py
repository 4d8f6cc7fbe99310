"""Answers which of several wrapped training loaders is the measure of a batch and an epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from tb_losslens.record.batch import Batch
from tb_losslens.record.feed import Feed
from tb_losslens.record.passes import Pass


class Lead:
    """Follows one loader at a time and fills the feed from it.

    The loader whose loop began first leads. One that is pulled beside it, a batch for each of the leader's, is a
    companion (as in `zip`) and is left out. One that is pulled again before the leader moves on is a loop inside
    the leader's, and from then on the leader. The same loader that begins anew after a step has taken the leader's place: its
    loop was broken off, and something still holds the iterator, as the traceback of an interrupted notebook cell does.

    Args:
        feed: gets the batches of the leader.
        moved: called with the first batch of an inner loop when it turns out to be one: a row may have been given a batch
            of the outer loop in its place.
    """

    def __init__(self, feed: Feed, moved: Callable[[Batch], None]) -> None:
        self._feed = feed
        self._moved = moved
        self._aside: list[Batch] = []
        self._companions: set[object] = set()
        self._inner: set[object] = set()
        self._replaced: weakref.WeakSet[Pass] = weakref.WeakSet()
        self.source: Pass | None = None

    @property
    def running(self) -> bool:
        """True while the leader's loop is."""
        return self.source is not None and not self.source.dropped and not self.source.exhausted

    @property
    def several(self) -> bool:
        """True once more than one loader was pulled at a time."""
        return bool(self._aside or self._companions or self._inner)

    @property
    def undecided(self) -> bool:
        """True while a second loader may be a companion or an inner loop."""
        return bool(self._aside)

    def pulled(self, source: Pass, batch: Batch) -> None:
        """A loop took a batch."""
        if source is not self.source and self.running:
            if source.owner in self._companions:
                return
            if source in self._replaced:  # it was not broken off: two loops over one loader take turns
                self._companions.add(source.owner)
                return
            if self._begins_anew(source):
                assert self.source is not None
                self._replaced.add(self.source)
            elif source.owner not in self._inner and not self._is_inner(source, batch):
                return
            self._feed.drop(self.source)
            self.source = source
        elif source is not self.source:
            self.source = source
        else:
            for other in self._aside:
                self._companions.add(other.source.owner)
        self._aside = []
        self._feed.push(batch)

    def _begins_anew(self, source: Pass) -> bool:
        """True at the first batch of another pass over the leader's loader, once all batches of the leader are trained on."""
        leader = self.source
        return leader is not None and source.owner is leader.owner and source.pulled == 1 and not len(self._feed)

    def _is_inner(self, source: Pass, batch: Batch) -> bool:
        """True at the second batch from a loader that was first pulled after the leader's newest batch."""
        before = [other for other in self._aside if other.source is source]
        if not before:
            self._aside.append(batch)
            return False
        self._inner.add(source.owner)
        self._moved(before[0])
        return True

    def dropped(self, source: Pass) -> None:
        """A loop is gone."""
        self._aside = [batch for batch in self._aside if batch.source is not source]
        if source is self.source:
            self.source = None
