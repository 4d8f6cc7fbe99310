"""The ordinary scalars in a run's event files, all points of them, for reading where TensorBoard is not at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import LogdirError
from tb_losslens.store.logdir import event_files, events_in


def scalar_tags(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Tags of the scalars in the event files of one run's directory, sorted."""
    return tuple(sorted({tag for tag, _, _ in _points(Path(directory))}))


def read_scalars(directory: str | os.PathLike[str]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Steps and values of each scalar in the event files of one run's directory, by tag, in the order of writing.

    Raises:
        LogdirError: there is no such directory.
    """
    points: dict[str, tuple[list[int], list[float]]] = {}
    for tag, step, value in _points(Path(directory)):
        steps, values = points.setdefault(tag, ([], []))
        steps.append(step)
        values.append(value)
    return {tag: (np.array(steps, np.int64), np.array(values, np.float64)) for tag, (steps, values) in points.items()}


def _points(directory: Path) -> Iterator[tuple[str, int, float]]:
    if not directory.is_dir():
        raise LogdirError(f"{directory} is not a directory: give the directory of one run.")
    for path in event_files(directory):
        for event in events_in(path.read_bytes()):
            for value in event.summary.value:
                number = _number(value)
                if number is not None:
                    yield value.tag, event.step, number


def _number(value: Any) -> float | None:
    """The number of a scalar summary, old style (torch) or new (TensorFlow 2); None for any other summary."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor") or value.metadata.plugin_data.plugin_name != "scalars":
        return None
    tensor = value.tensor
    if tensor.tensor_content:
        dtype = {1: "<f4", 2: "<f8"}.get(tensor.dtype)
        numbers = np.frombuffer(tensor.tensor_content, dtype).tolist() if dtype else []
    else:
        numbers = [*tensor.float_val, *tensor.double_val]
    return float(numbers[0]) if len(numbers) == 1 else None
