"""In a forked child (a worker of a data loader) whatever records must let go: its files, threads and locks are the parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Something that can drop its state without touching any file."""

    def forget(self) -> None:
        """Called once in a forked child, on its only thread."""
        ...


_open: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_in_child(thing: Forgetful) -> None:
    """Has `thing.forget()` called in every child that is forked while it is alive."""
    _open.add(thing)


def _forget_all() -> None:
    for thing in list(_open):
        thing.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget_all)
