"""Trains demo runs in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch


def train_here(train: Callable[[str, str], None], runs: Iterable[str], logdir: Path) -> None:
    """Calls `train(directory, run)` for one run after the other, as each worker of `demo.training.train_all` does.

    It spares the seconds in which new processes import torch; with a worker of pytest-xdist on each core they would be
    no sooner done.
    """
    torch.set_num_threads(1)
    for run in runs:
        train(str(logdir / run), run)
