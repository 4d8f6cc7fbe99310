"""Fields of a record that a device has still to compute: they come with a later record, so that nothing waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tb_losslens.record.deferred import Deferred

MOST_WAITING = 64
"""Records whose numbers are waited for at most; older ones are given up."""


class LateFields:
    """Sorts numbers into those that are known and those on their way from a device.

    Args:
        name: of the field that holds what earlier records owed: each collector has its own.
        shown: turns a number into what a record holds.
    """

    def __init__(self, name: str, shown: Callable[[float], Any] = float) -> None:
        self._name = name
        self._shown = shown
        self._waiting: list[tuple[dict[str, Any], Deferred]] = []

    def take(self, at: dict[str, Any], values: Mapping[str, float | Tensor]) -> dict[str, Any]:
        """The fields that are known now; the one of our name among them holds what earlier records owed, a list of mappings.

        Args:
            at: says which record this is, where its numbers come later.
            values: numbers, or 0-d tensors on any device.
        """
        fields: dict[str, Any] = {}
        owed = Deferred()
        for name, value in values.items():
            if isinstance(value, Tensor) and value.device.type != "cpu":
                owed.add(name, value)
            else:
                fields[name] = self._shown(value.item() if isinstance(value, Tensor) else value)
        if owed.names:
            self._waiting = [*self._waiting[-MOST_WAITING + 1 :], (at, owed)]
            owed.ready  # noqa: B018 - starts the copy
        late = self.ready()
        return {**fields, self._name: late} if late else fields

    def ready(self) -> list[dict[str, Any]]:
        """What has arrived since: the records that it belongs to, with its fields."""
        arrived = []
        while self._waiting and self._waiting[0][1].ready:
            at, owed = self._waiting.pop(0)
            arrived.append({**at, **{name: self._shown(value) for name, value in owed.result().items()}})
        return arrived
