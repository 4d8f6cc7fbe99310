"""The ordinary scalars in a run's event files, all points of them, for reading where TensorBoard is not at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import LogdirError
from tb_losslens.store.logdir import event_files
from tb_losslens.store.scalar_events import FileScalars, scalars_of


def scalar_tags(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Tags of the scalars in the event files of one run's directory, sorted."""
    return tuple(sorted({tag for file in scalar_files(directory) for tag in file.points}))


def read_scalars(directory: str | os.PathLike[str]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Steps and values of each scalar in the event files of one run's directory, by tag, in the order of writing.

    Raises:
        LogdirError: there is no such directory.
    """
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for file in scalar_files(directory):
        for tag, points in file.points.items():
            parts.setdefault(tag, []).append((points.step, points.value))
    return {tag: (np.concatenate([s for s, _ in each]), np.concatenate([v for _, v in each])) for tag, each in parts.items()}


def scalar_files(directory: str | os.PathLike[str]) -> Iterator[FileScalars]:
    """The scalars of each event file of one run's directory, oldest file first.

    Raises:
        LogdirError: there is no such directory.
    """
    path = Path(directory)
    if not path.is_dir():
        raise LogdirError(f"{path} is not a directory: give the directory of one run.")
    for file in event_files(path):
        yield scalars_of(file.read_bytes())
