"""Builds what /compare answers: runs side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tb_losslens.analysis.compare import Summary, differing, said, short, swept
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.plugin.wire import numbers
from tb_losslens.store.downsample import strongest

MOST_RUNS = 24
_MOST_JUMPS = 60
_DIGITS = 5


def build(
    names: Sequence[str], labels: Sequence[str], diagnoses: Sequence[Diagnosis | None], summaries: Sequence[Summary]
) -> dict[str, Any]:
    """The rows in the order of `names`; a run without a diagnosis is pending. See http_api.md for the shape."""
    settings = [each.settings for each in summaries]
    differ = differing(settings)
    sweep = swept(settings, differ)
    values = [float(each[sweep] or 0) for each in settings] if sweep is not None else []
    kinds = [known.kind if known else "pending" for known in diagnoses]
    rows = zip(names, labels, diagnoses, summaries, strict=True)
    return {
        "runs": [_row(name, label, known, found, differ) for name, label, known, found in rows],
        "differ": [{"name": name, "label": short(name)} for name in differ],
        "sweep": sweep,
        "said": said(kinds, differ, sweep, values, summaries),
    }


def _row(name: str, label: str, known: Diagnosis | None, found: Summary, differ: Sequence[str]) -> dict[str, Any]:
    return {
        "run": name,
        "label": label,
        "kind": known.kind if known else "pending",
        "short": known.short if known else "",
        "verdict": known.verdict if known else "",
        "batches": known.batches if known else 0,
        "epochs": known.epochs if known else 0,
        "jump": _number(known.pooled.median) if known else None,
        "last": _number(found.last),
        "noise": _number(found.noise),
        "jumps": _jumps(known),
        "loss": {"names": ["share", "mean"], "columns": [numbers(found.share, _DIGITS), numbers(found.loss, _DIGITS)]},
        "settings": [found.settings.get(key) for key in differ],
    }


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
