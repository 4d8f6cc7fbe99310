"""Which batches have no loss because nobody logged it there, which is not the same as a loss that is NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.nonfinite import recurring_nonfinite
from tb_losslens.analysis.text import plural
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run


def unlogged(run: Run) -> NDArray[np.bool_]:
    """True for each batch whose loss is missing in a run of which none is known to have turned NaN, shape (n,).

    All False where no loss is finite: nothing tells the two apart there.
    """
    out = np.isnan(run.loss)
    if out.all() or not out.any() or first_nonfinite(run) is not None or recurring_nonfinite(run) is not None:
        return np.zeros(len(run), dtype=bool)
    return out


def logged_rarely(run: Run, *, least: int = 2) -> str:
    """How often a loss comes that is not logged in every batch, and what records each; "" where it comes more often.

    Args:
        run: with a loss.
        least: batches from one logged loss to the next, at the median, from which on this is said.
    """
    missing = unlogged(run)
    known = np.flatnonzero(~missing)
    apart = np.diff(known)
    if not missing.any() or not len(apart) or np.median(apart) < least:
        return ""
    usual = int(np.median(apart))
    source = str(run.facts.get("loss_source", ""))
    name = f"`{source.removeprefix('scalar:')}`" if source.startswith("scalar:") else "The loss"
    regular = (apart == usual).mean() >= 0.9
    often = f"once in {usual} batches" if regular else f"in {len(known):,} of {plural(len(run), 'batch')}"
    return f"{name} is logged {often}; every batch is needed: `{how_to_record('train_mode')}` or `writer.log_batch(loss)`."
