"""Every training of the gallery."""

from __future__ import annotations

from dataclasses import dataclass

from demo.gallery import few, held_out, inside, logger, recurrent, schedule, state, stream
from demo.gallery.bases import BASES
from demo.gallery.loop import Loop


def _faults() -> dict[str, type[Loop]]:
    return {
        name: thing
        for module in (logger, stream, state, schedule, held_out, inside, recurrent, few)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, Loop) and thing.__module__ == module.__name__ and name[0] != "_"
    }


LOOPS: dict[str, type[Loop]] = {"Loop": Loop, **_faults()}
"""The healthy training and every fault by the name of its class."""


@dataclass(frozen=True)
class Training:
    """One training: a loop, by its name, on a kind of data and network, with a seed."""

    loop: str
    base: str
    seed: int

    def train(self, directory: str) -> None:
        """Trains, recorded in `directory`."""
        LOOPS[self.loop](self.base, self.seed).train(directory)


def train(table: dict[str, Training], directory: str, run: str) -> None:
    """Trains one run of `table` into `directory`."""
    table[run].train(directory)


def trainings(seeds: list[int], only: list[str] | None = None) -> list[Training]:
    """Each fault on each kind that has it, and the healthy twin of each kind, with each seed."""
    named = {name: loop for name, loop in LOOPS.items() if not only or name in only}
    return [Training(name, base, seed) for seed in seeds for name, loop in named.items() for base in loop.ON if base in BASES]
