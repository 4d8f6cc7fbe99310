"""What a calm verdict must not hide: the causes that nothing was recorded for, and the line that records it."""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.finding import Checked, Finding, Kind, Skipped
from tb_losslens.analysis.recordable import lines_there
from tb_losslens.analysis.text import some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run


def unchecked(run: Run, kind: Kind, verdict: str, outcomes: Sequence[Finding | Checked | Skipped]) -> str:
    """One sentence to stand beside the verdict; "" where a fault was found, or where the line is in `verdict` or the training.

    What the model is given after the loader is known from a watched model only: where the samples that the loader gave were
    compared, that is what was not checked of `input_shift`.
    """
    watch = how_to_record("train_mode")
    known = kind in ("fault", "artifact") or watch in verdict or not len(run)
    if known or run.has("train_mode") or watch in lines_there(run):
        return ""
    names = []
    for outcome in outcomes:
        if isinstance(outcome, Skipped) and watch in outcome.how:
            names.append(outcome.cause.replace("_", " "))
        elif isinstance(outcome, Checked) and outcome.cause == "input_shift" and not run.has("input_mean"):
            names.append("the inputs after the loader")
    return f"Not checked: {some(dict.fromkeys(names))}. Add `{watch}`." if names else ""
