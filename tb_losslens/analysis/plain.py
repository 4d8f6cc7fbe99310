"""What may be said of a plain log: scalars show what the loss does and what the log is, and hardly ever why.

A cause that needs recorded signals is not asked, however much it could make of a curve; nothing found is called a fault, since
a plain log does not show what was meant. Rows are logged losses, so the words count points where not every batch has one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.boundaries_of_plain import WITH_LOSSLENS, facts_of
from tb_losslens.analysis.context import Outcome
from tb_losslens.analysis.finding import Boundary, Evidence, Finding, Pooled, Skipped, Strength
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import THIN, plural, sentences, signed, some
from tb_losslens.analysis.verdict import Words
from tb_losslens.store.run import Run

ASKED = (
    "log_overlap",
    "running_mean",
    "smoothed_metric",
    "memorization",
    "lr_increase",
    "lr_decrease",
    "batch_noise",
    "unknown",
)
"""Causes that a plain log can show, or exclude."""

_OF_FEW = ("log_overlap", "unknown")
_SAID_ABOVE = "the boundaries cannot be judged, as the verdict says"
_RECORD = "writer = LossLensWriter(log_dir)"
_LOGGED = {"within one recording": "within one file", "; one recording": "", "Two recordings overlap": "Two logs overlap"}
_POINTS = {
    "from batch to batch": "from point to point",
    "batches lie around": "points lie around",
    "batches are missing": "points are missing",
    "other batches": "other points",
    "Batches are shown": "Points are shown",
    "Several batches share": "Several points share",
    "several batches have": "several points have",
}
_MEANT = "Whether that was meant, a plain log does not say."


def decided(
    run: Run, cause: str, outcomes: Sequence[Outcome], *, refused: str, least: int = 30, least_of_mean: int = 100
) -> list[Outcome]:
    """What a cause says of a plain log: nothing but how it would be recorded, if scalars alone cannot show it.

    Args:
        run: with `plain` set.
        cause: its id.
        outcomes: what it would say of a recorded run.
        refused: why the boundaries cannot be judged, which the verdict says already, or "".
        least: points below which only the log itself is judged, and whether the loss is finite.
        least_of_mean: points below which a curve that gets smoother is not called a mean.
    """
    if cause not in ASKED:
        how = next((o.how for o in outcomes if isinstance(o, Skipped) and o.how), "")
        return [Skipped(cause, "a plain log does not show it", _with_writer(how))]
    unplaced = facts_of(run).get("rate_unplaced") or ()
    if cause in ("memorization", "lr_increase", "lr_decrease") and unplaced:
        named = some([f"`{tag}`" for tag in unplaced])
        why = f"the learning rate ({named}) changes, and the log does not say with which of the losses"
        return [Skipped(cause, why, _with_writer("writer.watch(model, optimizer)"))]
    mean = any(isinstance(o, Finding) and o.cause == "running_mean" for o in outcomes)
    if run.has("loss") and cause not in _OF_FEW and len(run) < (least_of_mean if mean else least):
        return [Skipped(cause, f"the log has {plural(len(run), 'point')}, too few", _RECORD)]
    told = [_modest(run, outcome) for outcome in outcomes]
    return [replace(o, why=_SAID_ABOVE) if isinstance(o, Skipped) and refused and o.why == refused else o for o in told]


def worded(run: Run, words: Words, boundaries: Sequence[Boundary], pooled: Pooled) -> Words:
    """The words of the verdict with the size of the jump in percent, and with what kind of log it rests on."""
    head, said, short = (in_points(run, text) for text in (words.headline, words.subline, words.short))
    part = _part(boundaries) if pooled.direction else ""
    said = sentences([part, said, source_of(run)])
    return replace(words, headline=head, subline=said, aside=in_points(run, words.aside), short=short)


def _part(boundaries: Sequence[Boundary]) -> str:
    """The median jump as a part of the level before it; "" where a level is not above 0."""
    measured = [b for b in boundaries if math.isfinite(b.z)]
    if not measured or min(b.before for b in measured) <= 0:
        return ""
    middle = median(np.array([b.jump / b.before for b in measured]))
    return f"At the median that is {signed(100 * middle)}{THIN}% of the loss before it"


def source_of(run: Run) -> str:
    """One sentence: what the run was made of."""
    facts = facts_of(run)
    what = "It is a plain log, not recorded with LossLens"
    if not facts.get("tag"):
        back = facts.get("back") or ()
        return f"{what}; the steps of {some([f'`{tag}`' for tag in back])} go back." if back else f"{what}."
    every = int(facts.get("every") or 0)
    said = f"{what}: `{facts['tag']}`" + (f", written once in {every:,} steps" if every > 1 else "")
    if facts.get("epochs") and facts.get("inferred"):
        return f"{said}; epochs are inferred from {facts['epochs']}: if they are others, give `--batches-per-epoch N`."
    return f"{said}; epochs are those of {facts['epochs']}." if facts.get("epochs") else f"{said}."


def not_checked(outcomes: Sequence[Outcome], *, most: int = 4) -> str:
    """One sentence on the causes that a plain log leaves open."""
    names = [o.cause.replace("_", " ") for o in outcomes if isinstance(o, Skipped) and o.cause not in ASKED]
    if not names:
        return ""
    return f"Not checked, as scalars alone do not show it: {some(names, most)}. To record it: {WITH_LOSSLENS}."


def in_words(run: Run, outcome: Outcome) -> Outcome:
    """The outcome with points in place of batches, and a log in place of a recording."""
    if isinstance(outcome, Finding):
        return replace(
            outcome,
            title=in_points(run, outcome.title),
            text=in_points(run, outcome.text),
            evidence=tuple(_evidence(run, item) for item in outcome.evidence),
            against=tuple(_evidence(run, item) for item in outcome.against),
            advice=in_points(run, outcome.advice),
            confirm=in_points(run, outcome.confirm),
        )
    if isinstance(outcome, Skipped):
        return replace(outcome, why=in_points(run, outcome.why))
    return replace(outcome, text=in_points(run, outcome.text))


def marks_in_words(run: Run, boundaries: Sequence[Boundary], pooled: Pooled) -> tuple[tuple[Boundary, ...], Pooled]:
    """The measurement with points in place of batches."""
    told = tuple(replace(b, unmeasured=in_points(run, b.unmeasured)) if b.unmeasured else b for b in boundaries)
    return told, replace(pooled, reason=in_points(run, pooled.reason))


def problems(run: Run) -> tuple[str, ...]:
    """What of the log was left out, beside what could not be read."""
    facts = facts_of(run)
    out = list(run.problems)
    if facts.get("left_out"):
        count = facts["left_out"]
        losses = "1 loss between two epochs is" if count == 1 else f"{count:,} losses between two epochs are"
        out.append(f"{losses} left out: {facts['epochs']} does not tell to which of the two it belongs.")
    return tuple(out)


def in_points(run: Run, text: str) -> str:
    """Text of a log, not of a recording; outside of code it counts points for batches, if not every batch has one."""
    for recorded, logged in _LOGGED.items():
        text = text.replace(recorded, logged)
    facts = facts_of(run)
    if facts.get("tag") and facts.get("every") == 1:
        return text
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else _counted(piece) for piece in pieces)


def _counted(text: str) -> str:
    text = re.sub(r"(?<=\d )batch(es)?\b", lambda m: "points" if m[1] else "point", text)
    text = re.sub(r"\b[Bb]atch(es)? (?=\d)", lambda m: "points " if m[1] else "point ", text)
    for batches, points in _POINTS.items():
        text = text.replace(batches, points)
    return text


def _evidence(run: Run, item: Evidence) -> Evidence:
    return Evidence(in_points(run, str(item)), item.signal, item.span)


def _modest(run: Run, outcome: Outcome) -> Outcome:
    """A finding with what the log leaves open against it; a fault is not known to be one, as what was meant is not in a log."""
    if isinstance(outcome, Finding):
        lines = tuple(_with_writer(line) for line in outcome.missing)
        outcome = replace(outcome, missing=lines, against=(*outcome.against, *_open(run, outcome)))
        if outcome.kind == "fault":
            strength: Strength = "possible" if outcome.strength == "possible" else "likely"
            return replace(outcome, kind="unknown", strength=strength, text=f"{outcome.text} {_MEANT}")
        return outcome
    return replace(outcome, how=_with_writer(outcome.how)) if isinstance(outcome, Skipped) and outcome.how else outcome


def _open(run: Run, finding: Finding) -> list[Evidence]:
    """What would have to be in the log for this finding and is not."""
    out = []
    if finding.cause == "memorization":
        lacking = "the samples of each epoch are not"
        if not run.has("lr"):
            lacking = "neither the learning rate nor the samples of each epoch are"
        out.append(Evidence(f"{lacking} in the log"))
    if facts_of(run).get("inferred") and finding.boundaries:
        out.append(Evidence(f"where epochs begin is inferred, from {facts_of(run)['epochs']}"))
    return out


def _with_writer(line: str) -> str:
    """The line of code behind the one without which it does nothing."""
    if not line or line == _RECORD:
        return _RECORD
    return f"{_RECORD}; {line}"


