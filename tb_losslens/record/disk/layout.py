"""Which columns the rows of a chunk have, and how a row becomes bytes."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Mapping, ValuesView
from typing import Any

from tb_losslens.events.columns import BY_NAME

MAX_ROWS = 256
MAX_BYTES = 64 << 10
"""A chunk is closed at so many rows, or bytes of columns."""

MISSING: dict[str, float] = {"q": -1, "d": float("nan")}
"""What stands for an unknown value, by the type of its column."""

_COUNTS = frozenset({"step", "epoch", "index", "batch_size", "input_nonfinite", "class_rest"})


class Layout:
    """Columns in a fixed order, each int64 ("q") or float64 ("d").

    Attributes:
        columns: name and type of each column.
        names: the names alone.
        row_bytes: size of a row.
        capacity: rows of a chunk.
        pack: `pack(memory, position, *values)` writes a row.
        unpack: `unpack(memory, position)` reads one.
        places: for each name its position in a row in bytes, and the function that writes it alone.
    """

    def __init__(self, columns: tuple[tuple[str, str], ...] = ()) -> None:
        self.columns = columns
        self.names = tuple(name for name, _ in columns)
        packer = struct.Struct("=" + "".join(code for _, code in columns))
        self.row_bytes = packer.size
        self.capacity = min(MAX_ROWS, max(1, MAX_BYTES // packer.size)) if columns else 0
        self.pack = packer.pack_into
        self.unpack = packer.unpack_from
        single = {code: struct.Struct("=" + code).pack_into for code in MISSING}
        self.places = {name: (8 * i, single[code]) for i, (name, code) in enumerate(columns)}
        self._codes = dict(columns)
        self._missing: dict[str, Any] = {name: MISSING[code] for name, code in columns}

    def fits(self, row: Mapping[str, Any]) -> bool:
        """True if every name of `row` has a column."""
        return row.keys() <= self._codes.keys()

    def led_by(self, names: tuple[str, ...]) -> Layout:
        """The same columns, these first; this one if they are."""
        if self.names[: len(names)] == names:
            return self
        return Layout((*((name, self._codes[name]) for name in names), *(c for c in self.columns if c[0] not in names)))

    def values(self, row: Mapping[str, Any]) -> ValuesView[Any]:
        """The values of a row that fits, in the order of the columns; what it lacks is missing."""
        return {**self._missing, **row}.values()

    def converted(self, row: Mapping[str, Any]) -> tuple[Layout, dict[str, float]]:
        """A layout that holds `row`, this one if it can be, and the row as plain numbers.

        None becomes a missing value, a whole float in a column of integers an integer; a value that is no integer
        turns such a column into one of floats.

        Raises:
            ValueError: a value is not a number.
        """
        codes = dict(self._codes)
        out: dict[str, float] = {}
        for name, value in row.items():
            code = codes.setdefault(name, _first_code(name, value))
            if value is None:
                continue
            if code == "q":
                number = _as_integer(value)
                if number is not None:
                    out[name] = number
                    continue
                codes[name] = "d"
            try:
                out[name] = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"column {name!r} must be a number, got {value!r}") from error
        layout = self if codes == self._codes else Layout(tuple(codes.items()))
        return layout, out


def _first_code(name: str, value: Any) -> str:
    if name in _COUNTS:
        return "q"
    is_signal = name in BY_NAME or name.startswith("lr.")
    return "q" if not is_signal and isinstance(value, int) else "d"


def _as_integer(value: Any) -> int | None:
    """`value` as an int64 if it is one, -1 for NaN, else None."""
    try:
        number = operator.index(value)
    except TypeError:
        try:
            real = float(value)
        except (TypeError, ValueError):
            return None
        if math.isnan(real):  # unknown
            return -1
        if not real.is_integer():
            return None
        number = int(real)
    return number if -(2**63) <= number < 2**63 else None
