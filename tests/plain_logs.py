"""Logs as people have them: scalars through torch's own SummaryWriter, and nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@contextmanager
def summary_writer(directory: Path, **options: Any) -> Iterator[Any]:
    """torch's SummaryWriter; closed at the end."""
    made = pytest.importorskip("torch.utils.tensorboard").SummaryWriter(str(directory), **options)
    yield made
    made.close()


def losses(
    epochs: int, length: int, *, drop: float = 0.0, gain: float = 0.0, noise: float = 0.05, seed: int = 0, fall: float = 1.0
) -> Floats:
    """A falling loss, shape (epochs * length,): each epoch begins lower by the part `drop`, of which `gain` comes back."""
    rng = np.random.default_rng(seed)
    n = epochs * length
    trend = 0.5 + fall * np.exp(-3 * np.arange(n) / n)
    level = np.repeat((1 - drop * (1 - gain)) ** np.arange(epochs), length)
    within = 1 + drop * gain * np.tile(np.arange(length) / length, epochs)
    return trend * level * within * (1 + noise * rng.standard_normal(n))


def write(
    directory: Path,
    loss: Floats,
    length: int,
    *,
    every: int = 1,
    first: int | None = None,
    tag: str = "train/loss",
    epoch: Callable[[int], float] | None = None,
    epoch_tag: str = "epoch",
    lr: Callable[[int], float] | None = None,
    held_out: str = "",
    by_epoch: bool = False,
    **options: Any,
) -> Path:
    """A training of which one loss in `every` is logged.

    Args:
        directory: of the run.
        loss: of each batch.
        length: batches of an epoch.
        every: batches from one logged loss to the next.
        first: the first batch that is logged; the last of the first `every` where it is None.
        tag: of the loss.
        epoch: what the epoch tag says at a batch; none is written where it is None.
        epoch_tag: its name.
        lr: the rate at a batch.
        held_out: tag of a loss that is written after the last batch of each epoch.
        by_epoch: its step counts epochs.
        **options: for the writer.
    """
    first = every - 1 if first is None else first
    with summary_writer(directory, **options) as writer:
        for step, value in enumerate(loss.tolist()):
            if step >= first and (step - first) % every == 0:
                writer.add_scalar(tag, value, step)
                if epoch is not None:
                    writer.add_scalar(epoch_tag, epoch(step), step)
                if lr is not None:
                    writer.add_scalar("lr", lr(step), step)
            if held_out and step % length == length - 1:
                writer.add_scalar(held_out, 1.0 + 0.9 ** (step / length), step // length if by_epoch else step)
    return directory
