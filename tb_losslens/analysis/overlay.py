"""All epochs on one axis: what every epoch does at the same place shows at a glance."""

from __future__ import annotations

from typing import Any

import numpy as np

from tb_losslens.store.downsample import bucket_starts, bucket_stats, spread
from tb_losslens.store.run import Run


def overlay(run: Run, points: int = 100, *, most: int = 40) -> dict[str, Any]:
    """The answer of the route `/overlay`, see plugin/http_api.md: mean loss by position for at most `most` epochs.

    Without epochs all lists are empty and `batches` is 0.
    """
    epochs = run.epochs
    chosen = [epochs[k] for k in spread(len(epochs), most).tolist()]
    longest = max((len(e) for e in chosen), default=0)
    starts = bucket_starts(0, longest, max(2, points))
    loss = run.loss
    columns = []
    for epoch in chosen:
        mine = starts[starts < len(epoch)]
        level = bucket_stats(loss[epoch.first : epoch.last], mine, len(epoch)).mean
        filled = np.full(len(starts), np.nan)
        filled[: len(level)] = level
        columns.append([value if np.isfinite(value) else None for value in filled.tolist()])
    return {
        "position": starts.tolist(),
        "epoch": [e.epoch for e in chosen],
        "columns": columns,
        "batches": longest,
    }
