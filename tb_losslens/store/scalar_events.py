"""The scalars of one event file as arrays: the layout that nearly all of them have is read with numpy, the rest one by one.

A scalar of torch, tensorboardX or TensorFlow 1 is an event of fixed layout: the time, the step as a varint, and a summary of
one value with its tag and its 32-bit number. Parsing a million of them as protobuf takes many seconds; comparing bytes one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.logdir import event_of
from tb_losslens.store.records import all_records

_AT_A_TIME = 5_000_000
"""Bytes of events of one length that are looked at together."""
_MOST_TAGS = 1000
"""Tags of one length that are told apart by their bytes; events of further ones are read one by one."""
_TIME, _STEP, _SUMMARY, _VALUE, _NUMBER = 0x09, 0x10, 0x2A, 0x0A, 0x15
_START = 1
"""`SessionLog.START`, which a writer with a `purge_step` writes first."""


@dataclass(frozen=True)
class Points:
    """Points of one tag in one file, in the order of writing; arrays of equal length.

    Attributes:
        place: number of the event in the file, int64.
        step: int64.
        time: seconds since 1970, float64.
        value: float64.
    """

    place: NDArray[np.int64]
    step: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class FileScalars:
    """What one event file holds: its scalars by tag, and the step from which its writer asked to purge, or None."""

    points: dict[str, Points]
    purge_step: int | None = None


def scalars_of(data: bytes) -> FileScalars:
    """All scalars in the bytes of an event file; what is damaged is left out."""
    begin, end = all_records(data)
    raw = np.frombuffer(data, np.uint8)
    found: dict[str, list[Points]] = {}
    rest = []
    length = end - begin
    for size in np.unique(length).tolist():
        places = np.flatnonzero(length == size)
        together = max(1, _AT_A_TIME // max(1, size))
        for first in range(0, len(places), together):
            part = places[first : first + together]
            rest.append(part[~_by_layout(raw, part, begin[part], size, found)])
    purge = _one_by_one(data, np.sort(np.concatenate(rest)) if rest else begin, begin, end, found)
    return FileScalars({tag: _joined(parts) for tag, parts in sorted(found.items())}, purge)


def _by_layout(
    raw: NDArray[np.uint8], places: NDArray[np.int64], begin: NDArray[np.int64], size: int, found: dict[str, list[Points]]
) -> NDArray[np.bool_]:
    """Adds those of the events, all of `size` bytes, that have the usual layout; True for each of them."""
    taken = np.zeros(len(places), dtype=bool)
    if size < 9 + 8:
        return taken
    rows = raw[begin[:, None] + np.arange(size)] if size <= 512 else np.zeros((len(places), 0), np.uint8)
    if not rows.shape[1]:
        return taken
    timed = rows[:, 0] == _TIME
    stepped = rows[:, 9] == _STEP
    width = np.where(stepped, np.argmin(rows[:, 10:19] & 0x80, axis=1) + 1, 0)  # bytes of the varint
    for count in np.unique(width[timed]).tolist():
        mine = np.flatnonzero(timed & (width == count))
        at = 10 + count if count else 9  # of the summary; a step of 0 is not written
        for tag, these in _tags_at(rows, mine, at, size):
            part = rows[these]
            step = np.zeros(len(these), np.int64)
            for k in range(count):
                step |= (part[:, 10 + k].astype(np.int64) & 0x7F) << (7 * k)
            time = part[:, 1:9].copy().view("<f8")[:, 0]
            value = part[:, -4:].copy().view("<f4")[:, 0]
            found.setdefault(tag, []).append(Points(places[these], step, time.astype(np.float64), value.astype(np.float64)))
            taken[these] = True
    return taken


def _tags_at(rows: NDArray[np.uint8], mine: NDArray[np.int64], at: int, size: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Tags of events with the summary at byte `at`, each with its rows; events of another layout are in none."""
    name = size - at - 11  # bytes of the tag, if both lengths take one byte each
    if not 0 < name < 121 or not len(mine):
        return []
    head = np.array([_SUMMARY, name + 9, _VALUE, name + 7, _VALUE, name], np.uint8)
    usual = (rows[mine, at : at + 6] == head).all(axis=1) & (rows[mine, size - 5] == _NUMBER)
    left = mine[usual]
    out: list[tuple[str, NDArray[np.int64]]] = []
    while len(left) and len(out) < _MOST_TAGS:
        first = rows[left[0], at + 6 : size - 5]
        same = (rows[left, at + 6 : size - 5] == first).all(axis=1)
        with suppress(UnicodeDecodeError):  # damaged: protobuf refuses it, too
            out.append((bytes(first).decode(), left[same]))
        left = left[~same]
    return out


def _one_by_one(
    data: bytes, places: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64], found: dict[str, list[Points]]
) -> int | None:
    """Adds the scalars of the other events; gives the last step from which a writer asked to purge."""
    purge = None
    lists: dict[str, list[tuple[int, int, float, float]]] = {}
    for place in places.tolist():
        event = event_of(data[begin[place] : end[place]])
        if event is None:
            continue
        if event.HasField("session_log") and event.session_log.status == _START:
            purge = int(event.step)
        for value in event.summary.value:
            number = _number(value)
            if number is not None:
                lists.setdefault(value.tag, []).append((place, event.step, event.wall_time, number))
    for tag, rows in lists.items():
        place, step, time, value = zip(*rows, strict=True)
        found.setdefault(tag, []).append(
            Points(np.array(place, np.int64), np.array(step, np.int64), np.array(time, float), np.array(value, float))
        )
    return purge


def _joined(parts: list[Points]) -> Points:
    """Parts of one tag in the order of writing."""
    place = np.concatenate([part.place for part in parts])
    order = np.argsort(place, kind="stable")
    step, time, value = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("step", "time", "value")
    )
    return Points(place[order], step, time, value)


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
