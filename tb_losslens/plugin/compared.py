"""Builds what /compare answers: runs side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb_losslens.analysis.compare import Summary, differing, said, short, swept
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.analysis.run_settings import Value, shown
from tb_losslens.plugin.entry import Overview
from tb_losslens.plugin.wire import numbers
from tb_losslens.store.downsample import strongest

MOST_RUNS = 24
_MOST_SETTINGS = 12
_MOST_LOOKED_AT = 1000
_MOST_JUMPS = 60
_MOST_FINDINGS = 12
_DIGITS = 5


@dataclass(frozen=True)
class Side:
    """One run of a comparison; `found` is None where it could not be read."""

    name: str
    label: str
    seen: Overview
    found: Summary | None


def build(sides: Sequence[Side]) -> dict[str, Any]:
    """The rows in the order of `sides`; settings are compared among those that could be read. See http_api.md."""
    read = [side.found for side in sides if side.found is not None]
    settings = [each.settings for each in read]
    every = differing(settings, most=_MOST_LOOKED_AT)
    differ = every[:_MOST_SETTINGS]
    sweep = swept(settings, every)
    sweep = sweep if sweep in differ else None
    values = [float(each[sweep] or 0) for each in settings] if sweep is not None else []
    broken = sum(bool(side.seen.trouble) for side in sides)
    cells = [shown([side.found.settings.get(name) if side.found else None for side in sides]) for name in differ]
    return {
        "runs": [_row(side, [column[at] for column in cells]) for at, side in enumerate(sides)],
        "differ": [{"name": name, "label": short(name)} for name in differ],
        "sweep": sweep,
        "said": said([side.seen.words()[0] for side in sides], differ, sweep, values, read, broken=broken),
    }


def _row(side: Side, settings: list[Value]) -> dict[str, Any]:
    known, found = side.seen.diagnosis, side.found or Summary({})
    kind, verdict, few = side.seen.words()
    return {
        "run": side.name,
        "label": side.label,
        "kind": kind,
        "short": few,
        "verdict": verdict,
        "batches": known.batches if known else 0,
        "epochs": known.epochs if known else 0,
        "jump": _number(known.pooled.median) if known else None,
        "last": _number(found.last),
        "noise": _number(found.noise),
        "jumps": _jumps(known),
        "findings": _findings(known),
        "loss": {"names": ["share", "mean"], "columns": [numbers(found.share, _DIGITS), numbers(found.loss, _DIGITS)]},
        "settings": settings,
    }


def _findings(known: Diagnosis | None) -> list[dict[str, Any]]:
    """The leading findings, best first."""
    found = known.findings[:_MOST_FINDINGS] if known else ()
    return [{"cause": each.cause, "title": each.title, "kind": each.kind, "strength": each.strength} for each in found]


def _jumps(known: Diagnosis | None) -> dict[str, list[Any]]:
    """The at most 60 strongest boundaries, in order."""
    boundaries = known.boundaries if known else ()
    kept = [
        boundaries[at] for at in strongest(np.array([each.z for each in boundaries], dtype=np.float64), _MOST_JUMPS).tolist()
    ]
    return {
        "index": [each.index for each in kept],
        "jump": numbers(np.array([each.jump for each in kept], dtype=np.float64), _DIGITS),
        "kind": [each.kind for each in kept],
    }


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
