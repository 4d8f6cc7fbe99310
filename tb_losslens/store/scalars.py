"""The ordinary scalars in a run's event files, all points of them, for reading where TensorBoard is not at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

from tb_losslens.errors import LogdirError
from tb_losslens.store.logdir import is_event_file
from tb_losslens.store.records import Damage, scan_records


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
    for path in sorted(directory.iterdir()):
        if not is_event_file(path.name) or not path.is_file():
            continue
        data = path.read_bytes()
        for begin, end in scan_records(data, Damage()):
            try:
                event = event_pb2.Event.FromString(data[begin:end])
            except DecodeError:
                continue  # a damaged point is no point
            for value in event.summary.value:
                number = _number(value)
                if number is not None:
                    yield value.tag, event.step, number


def _number(value: event_pb2.summary__pb2.Summary.Value) -> float | None:
    """The number of a scalar summary, old style (torch) or new (TensorFlow 2); None for any other summary."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.metadata.plugin_data.plugin_name == "scalars":
        array = tensor_util.make_ndarray(value.tensor)
        return float(array.item()) if array.size == 1 else None
    return None
