"""Samples that come with the spikes of the loss more often than chance puts them there."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.bad_rows import loss_distance
from tb_losslens.analysis.outliers import spans
from tb_losslens.analysis.sample_counts import Found
from tb_losslens.analysis.sample_visits import Visits
from tb_losslens.analysis.tails import binomial_sf
from tb_losslens.analysis.text import plural, some
from tb_losslens.store.run import Run


def with_spikes(
    run: Run, seen: Visits, *, far: float = 8.0, longest: int = 3, level: float = 0.01, untrained: int = 3, named: int = 10
) -> Found:
    """Each spike is asked for the samples of its first batch; of each sample, in how many spikes it is.

    By chance a sample is in a spike as often as in any batch: if it is in the part r of all batches, in as many spikes or
    more with the binomial tail. That, times the samples that are in any spike (Bonferroni), must be below `level`.

    Args:
        run: the run.
        seen: its visits.
        far: robust standard deviations above the losses around from which on a batch is a spike.
        longest: batches in a row; what lasts longer is not of single samples.
        level: see above.
        untrained: no spike begins within so many batches of the run.
        named: how many samples are listed.
    """
    with np.errstate(invalid="ignore"):
        high = np.flatnonzero(loss_distance(run) >= far)
    rows = np.array([a for a, b in spans(high, join=1) if b - a < longest and a >= untrained], dtype=np.int64)
    out = {"count": len(rows), "steps": run.step[rows[:1000]].tolist(), "samples": []}
    if len(rows) < 2:
        return out, f"The loss has {'one spike' if len(rows) else 'no spike'}, so no sample comes with each."
    batches = 1 + int(np.count_nonzero(np.diff(seen.row)))
    inside = np.isin(seen.row, rows)
    pairs = np.unique(seen.row[inside] * len(seen.names) + seen.of[inside])
    hits = np.bincount(pairs % len(seen.names), minlength=len(seen.names))
    asked = np.flatnonzero(hits)
    once = np.unique(seen.row[np.isin(seen.of, asked)] * len(seen.names) + seen.of[np.isin(seen.of, asked)])
    often = np.bincount(once % len(seen.names), minlength=len(seen.names))
    p = binomial_sf(hits[asked] - 1, len(rows), np.minimum(often[asked] / max(1, batches), 1.0))
    sure = asked[(p * len(asked) < level) & (hits[asked] > 1)]
    chance = dict(zip(asked.tolist(), np.minimum(p * len(asked), 1.0).tolist(), strict=True))
    sure = sure[np.argsort(-hits[sure], kind="stable")]
    out["samples"] = [
        {"id": int(seen.names[k]), "spikes": int(hits[k]), "batches": int(often[k]), "p": chance[int(k)]}
        for k in sure[:named].tolist()
    ]
    if not len(sure):
        return out, f"No sample is in more of {plural(len(rows), 'spike')} of the loss than chance puts it there."
    told = some([f"{int(seen.names[k]):,} in {int(hits[k])}" for k in sure[:named].tolist()], 5)
    verb = "comes" if len(sure) == 1 else "come"
    return (
        out,
        f"{plural(len(sure), 'sample')} {verb} with the {len(rows):,} spikes of the loss more often than by chance: {told}.",
    )
