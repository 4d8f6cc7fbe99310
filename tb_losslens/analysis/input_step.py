"""At which batch inside an epoch the inputs became others: levels of whole epochs tell the epoch only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.change_points import change_points, refined
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.input_count import begun_at_rise
from tb_losslens.analysis.input_name import ADVICE, repair
from tb_losslens.analysis.inside import INPUTS, size_of
from tb_losslens.analysis.shifts import shifts
from tb_losslens.analysis.stats import median, noise
from tb_losslens.analysis.text import number
from tb_losslens.events.columns import BY_NAME
from tb_losslens.store.run import Run


def input_step(run: Run, first: int, end: int, *, spreads: float = 6.0, near: int = 3) -> tuple[int, Evidence] | None:
    """The one row from `first` to `end` at which mean or spread of the inputs takes a step and keeps it, and what it does.

    None where there is none, or where the batches on either side that were read lie more than `near` rows apart.

    Args:
        run: the run.
        first: a row.
        end: a row.
        spreads: robust standard deviations of the larger side by which the sides must differ.
        near: see above.
    """
    best: tuple[float, int, Evidence] | None = None
    for name in INPUTS:
        values = run.float(name)[first:end]
        rows = np.flatnonzero(np.isfinite(values))
        read = values[rows]
        sigma = noise(read)
        if len(rows) < 20 or not math.isfinite(sigma):
            continue
        scale = max(sigma, 1e-9 * float(np.abs(read).max()))
        points = refined(read, change_points(read, penalty=12 * scale * scale * math.log(len(read)), least=5, most=4), least=5)
        if len(points) != 1:
            continue
        at = points[0]
        old, new = median(read[:at]), median(read[at:])
        spread = max(median(np.abs(read[:at] - old)), median(np.abs(read[at:] - new)), 1e-9 * max(abs(old), abs(new)))
        apart = abs(new - old) / spread
        if apart <= spreads or rows[at] - rows[at - 1] > near:
            continue
        row = first + int(rows[at])
        said = f"the {BY_NAME[name].label} goes from {number(old)} to {number(new)} at step {int(run.step[row]):,} and stays"
        if best is None or apart > best[0]:
            best = apart, row, Evidence(said, name, (max(0, row - 20), row + 20))
    return None if best is None else (best[1], best[2])


def relocated(context: Context, finding: Finding, *, beside: int = 2, near: int = 3) -> Finding:
    """`finding` at the batch where it began, if it is at one boundary (or two in a row) and that batch lies inside an epoch.

    Args:
        context: the run and its measurement.
        finding: of other inputs from a boundary on.
        beside: rows from a boundary that are it.
        near: rows from that batch in which a rise of the loss is that of the inputs.
    """
    at = finding.boundaries
    if not at or at[-1] - at[0] > 1:
        return finding
    run, epochs = context.run, context.epochs
    found = input_step(run, epochs[at[0]].first, epochs[at[-1] + 1].last) or begun_at_rise(run, epochs[at[0] + 1])
    if found is None or any(abs(found[0] - epoch.first) <= beside for epoch in epochs):
        return finding
    row, said = found
    step = int(run.step[row])
    shift = next((one for one in shifts(run) if abs(one.row - row) <= near), None)
    loss = "the loss moves by"
    against = tuple(one for one in finding.against if shift is None or not one.startswith(loss))
    evidence = (said, *([size_of(shift)] if shift is not None else []))
    words = f"boundar{'y' if len(at) == 1 else 'ies'} {' and '.join(str(k + 1) for k in at)}"
    # samples of which a part changed look like random ones, as long as nobody knows that it began between them
    detail = "" if finding.detail == "augmentation" else finding.detail
    return replace(
        finding,
        detail=detail,
        text=finding.text.replace(f"at {words}", f"at step {step:,}, inside an epoch", 1),
        kind="fault" if shift is not None and finding.kind == "benign" else finding.kind,
        title=finding.title.replace(", without effect so far", "") if shift is not None else finding.title,
        advice=ADVICE[""] if detail != finding.detail and finding.kind != "planned" else finding.advice,
        boundaries=(),
        steps=(step,),
        share=None,
        explains_jump=shift is not None,
        evidence=(*(one for one in finding.evidence if not one.startswith(loss)), *evidence),
        against=against,
        fix=repair(context, detail, at[0], step=step) if finding.fix else "",
        confirm=f"Load the samples of one batch before and after step {step:,}: they must be equal.",
    )
