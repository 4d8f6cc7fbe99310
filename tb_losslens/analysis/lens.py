"""One boundary in full: the batches on both sides, every signal beside them, and the jump as the sum of its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.decompose import Term, decompose
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.analysis.signals import missing, moves
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.store.run import Run


def lens(
    run: Run, diagnosis: Diagnosis, index: int, m: int | None = None, *, least: int = 5, most: int = 200, usual: int = 20
) -> dict[str, Any]:
    """The answer of the route `/lens`, see plugin/http_api.md.

    Args:
        run: the run as it was recorded.
        diagnosis: its diagnosis.
        index: which of `diagnosis.boundaries`.
        m: batches a side to show; by default those of the measurement but at least `usual`. Held within `least..most`.
        least: fewest batches a side.
        most: most batches a side.
        usual: batches a side that are shown at least if nothing was asked for.

    Raises:
        ValueError: if there is no such boundary.
    """
    count = len(diagnosis.boundaries)
    if not 0 <= index < count:
        raise ValueError(f"boundary must be 0 to {count - 1}, got {index}" if count else "the run has no boundary")
    boundary = diagnosis.boundaries[index]
    side = min(most, max(least, max(boundary.m, usual) if m is None else m))
    first, last = max(0, boundary.batch - side), min(len(run), boundary.batch + side)
    batch = np.arange(first, last, dtype=np.int64)
    offset = (batch - boundary.batch).tolist()
    terms, note = decompose(run, boundary, diagnosis.findings)
    shown = boundary.to_dict()
    return {
        "run": run.name,
        "boundary": shown,
        "m": side,
        "names": ["offset", "batch", "step", "loss"],
        "unlogged": batch[unlogged(run)[first:last]].tolist(),
        "columns": [offset, batch.tolist(), run.step[first:last].tolist(), _json(run.loss[first:last])],
        "placebo": {
            "low": shown["placebo_low"],
            "high": shown["placebo_high"],
            "median": shown["placebo_median"],
            "count": boundary.placebo_count,
        },
        "signals": [
            {
                "name": move.name,
                "label": move.label,
                "unit": move.unit,
                "offset": offset,
                "value": _json(move.value),
                "said": move.said,
                "moved": move.moved,
                "z": move.z if np.isfinite(move.z) else None,
            }
            for move in moves(run, boundary, first, last)
        ],
        "waterfall": [
            {**{name: getattr(term, name) for name in ("label", "value", "kind", "cause")}, **_interval(term)} for term in terms
        ],
        "waterfall_note": note,
        "missing": missing(run),
    }


def _interval(term: Term) -> dict[str, float | None]:
    known = bool(np.isfinite(term.low) and np.isfinite(term.high))
    return {"low": term.low if known else None, "high": term.high if known else None}


def _json(values: NDArray[np.float64]) -> list[float | None]:
    return [value if ok else None for value, ok in zip(values.tolist(), np.isfinite(values).tolist(), strict=True)]
