"""Gives rows their loss where it comes from the user's own scalars, and keeps rows back while their tag is being found."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tb_losslens.record.loss_tag import LossTag
from tb_losslens.record.outbox import Outbox
from tb_losslens.record.row import Row

MOST_HELD = 64
"""Rows that wait at most for the tag of the loss to be found."""


class LossSearch:
    """The source of the loss of each row: `log_batch`, else the criterion, else a scalar.

    Args:
        outbox: where released rows are.
        tag: the user's `loss_tag`, or None to find it.
        set_step: gives a row the step of its scalar.
        warn: called with a sentence.

    Attributes:
        holding: rows are kept back.
        sources: how many rows had their loss from where.
    """

    def __init__(
        self, outbox: Outbox, tag: str | None, set_step: Callable[[Row, int], None], warn: Callable[[str], None]
    ) -> None:
        self._outbox = outbox
        self._set_step = set_step
        self._warn = warn
        self._tag = LossTag(tag)
        self._held: list[Row] = []
        self._plain = 0
        self.holding = tag is None
        self.sources: dict[str, int] = {}

    @property
    def tag(self) -> str | None:
        """The tag of the loss, once it is known."""
        return self._tag.tag

    @property
    def undecided(self) -> bool:
        """True while no scalar is known to be the loss, and it is not that there are too many."""
        return self._tag.undecided

    def may_be(self, tag: str) -> bool:
        """True if `tag` is the loss, or may turn out to be."""
        return self._tag.may_be(tag)

    def written(self, row: Row, tag: str, value: float, step: int | None) -> bool:
        """The user wrote a candidate for `row`; True if that is its loss."""
        row.scalars[tag] = (value, step)
        row.written[tag] = row.written.get(tag, 0) + 1
        if tag != self.tag:
            return False
        self._use(row, tag)
        return True

    def settle(self, row: Row) -> None:
        """A row is about to be released: its loss, as far as it is known, and whether it must wait for it."""
        if row.has_loss:
            if not row.scalar_used:
                self.count("log_batch")
        elif (loss := row.criterion_loss()) is not None:
            self.count("criterion")
            if isinstance(loss, Tensor):
                row.later.add("loss", loss)
            else:
                row.values["loss"] = loss
        if self.holding:
            row.held = not row.logged and (bool(row.scalars) or not row.losses)
            if row.held:
                self._held.append(row)
        elif self.tag is not None:
            row.held = not row.has_loss  # its scalar may still come

    def finish(self, row: Row) -> None:
        """Nothing more of this row will come: is the tag known now?"""
        if self._tag.undecided and self._tag.row(row.epoch, row.written, _equal(row)):
            self._decided(row)
        elif self.holding:
            # with a loss of its own and no scalar to wait for, two rows are enough to know
            self._plain = self._plain + 1 if row.losses and not row.scalars else 0
            if self._plain >= 2 or len(self._held) >= MOST_HELD:
                self.let_go()
        if row.held and not self.holding:
            row.held = False
            self._outbox.drain()

    def close(self) -> None:
        """The recording ends: a run of one batch has its only scalar as loss."""
        only = self._tag.only() if self._tag.undecided else None
        if only is not None and len(self._held) == 1 and self._held[0].written.get(only) == 1:
            self._use(self._held[0], only)
        self.let_go()

    def let_go(self) -> None:
        """Stops waiting: what is held is stored."""
        self.holding = False
        for row in self._held:
            row.held = False
        self._held = []
        self._outbox.drain()

    def _decided(self, newest: Row) -> None:
        if self._tag.ambiguous:
            names = ", ".join(repr(tag) for tag in self._tag.ambiguous)
            self._warn(
                f"{len(self._tag.ambiguous)} scalars may be the loss of a batch ({names}) and none of them is taken: "
                "say which, LossLensWriter(..., loss_tag=...)"
            )
        elif self.tag is not None:
            for row in (*self._held, newest):
                if self.tag in row.scalars and not row.scalar_used:
                    self._use(row, self.tag)
        self.let_go()

    def _use(self, row: Row, tag: str) -> None:
        value, step = row.scalars[tag]
        row.scalar_used = True
        beside = row.has_loss or bool(row.losses) or bool(row.pending)
        if not beside:
            self.count(f"scalar:{tag}")
        if step is not None and row.user_step is None:
            self._set_step(row, step)
        self._outbox.amend(row, {"logged_loss" if beside else "loss": value})
        if row.held and not self.holding:
            row.held = False
            self._outbox.drain()

    def count(self, source: str, rows: int = 1) -> None:
        """So many more rows had their loss from there."""
        self.sources[source] = self.sources.get(source, 0) + rows


def _equal(row: Row) -> list[str]:
    """The scalars of a row that are its loss by `log_batch` or the criterion, to the precision in which both are kept."""
    known = row.values.get("loss", math.nan)
    return [tag for tag, (value, _) in row.scalars.items() if math.isclose(value, known, rel_tol=1e-6)]
