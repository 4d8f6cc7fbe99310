"""The compiled half of the short way (native.c), where it was built with the package; without it the Python half does all."""

from __future__ import annotations

import sys
from array import array
from time import perf_counter
from typing import Any

from torch import Tensor, is_grad_enabled

from tb_losslens.record import lane_start, unusual
from tb_losslens.record.disk.series import Series
from tb_losslens.record.guard import Guard, Meter
from tb_losslens.record.lane import EACH, Lane
from tb_losslens.record.lane_rows import LaneRows
from tb_losslens.record.passes import Pass, PassIterator
from tb_losslens.record.sampler_tap import Tapped, Trail
from tb_losslens.record.unusual import Unusual

INTERFACE = 1
"""Of native.c: one that was compiled from other sources is left alone."""

_KINDS = ("FORWARD", "CRITERION", "STEP", "STEPPED", "SCALAR", "END", "NUMBER", "INDEX", "SIZE", "TIME", "WAIT", "LOSS", "RATE")
_EVENTS = ("forward", "called", "step", "stepped", "scalar")
_PLACES: dict[str, tuple[type, str]] = {name: (Lane, name) for name in _EVENTS} | {
    "pass_next": (PassIterator, "__next__"),
    "tapped_next": (Tapped, "__next__"),
}
_PYTHON: dict[str, Any] = {name: vars(owner)[method] for name, (owner, method) in _PLACES.items()}


def _compiled() -> dict[str, Any]:
    """The compiled methods by name; none where there is no module, or it does not fit this interpreter or this package."""
    if sys.byteorder != "little" or sys.implementation.name != "cpython":
        return {}
    try:
        from tb_losslens.record import _native
    except ImportError:  # built without a compiler
        return {}
    if _native.INTERFACE != INTERFACE:
        return {}
    known = {
        **_PYTHON,
        **{name: getattr(lane_start, name) for name in _KINDS},
        "EACH": EACH,
        "FAR": unusual.FAR,
        "NEW": unusual.NEW,
        "LEAST": unusual.LEAST,
        "Tensor": Tensor,
        "array": array,
        "perf_counter": perf_counter,
        "is_grad_enabled": is_grad_enabled,
        "Lane": Lane,
        "Meter": Meter,
        "Unusual": Unusual,
        "LaneRows": LaneRows,
        "Series": Series,
        "Pass": Pass,
        "Trail": Trail,
        "PassIterator": PassIterator,
        "Tapped": Tapped,
    }
    try:
        return _native.methods(known)
    except Exception as error:  # noqa: BLE001 - a training must not end because it cannot be recorded faster
        Guard().warn(f"the compiled half of the recorder does not fit ({error}); every step costs more until it is built again")
        return {}


_METHODS = _compiled()

available = len(_METHODS) > 0
"""The compiled half is there."""


def use(*, compiled: bool) -> None:
    """Puts the compiled methods in the place of those of Python, or these back; writers that exist keep theirs."""
    for name, method in (_METHODS if compiled else _PYTHON).items():
        owner, attribute = _PLACES[name]
        setattr(owner, attribute, method)


use(compiled=True)
