"""What a calm verdict must not hide: the causes that nothing was recorded for, and the line that records it."""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.finding import Checked, Finding, Kind, Skipped
from tb_losslens.analysis.text import some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run


def unchecked(run: Run, kind: Kind, verdict: str, outcomes: Sequence[Finding | Checked | Skipped]) -> str:
    """One sentence to stand beside the verdict; "" where a fault was found, or `verdict` says the line already.

    What the model is given after the loader is known from a watched model only, so `input_shift` belongs here also where the
    samples that the loader gave were compared.
    """
    watch = how_to_record("train_mode")
    if kind in ("fault", "artifact") or watch in verdict or not len(run):
        return ""
    blind = {o.cause for o in outcomes if isinstance(o, Skipped) and watch in o.how}
    if not run.has("input_mean") and any(o.cause == "input_shift" and not isinstance(o, Finding) for o in outcomes):
        blind.add("input_shift")
    names = [o.cause.replace("_", " ") for o in outcomes if o.cause in blind]
    return f"Not checked: {some(dict.fromkeys(names))}. Add `{watch}`." if names and not run.has("train_mode") else ""
