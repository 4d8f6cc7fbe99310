"""Compares what was diagnosed with what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from demo.expect import HARMLESS
from demo.gallery.loop import Truth
from tb_losslens.analysis.finding import Diagnosis, Finding

HEALTHY = "(healthy)"
NOTHING = "(nothing)"
CONSEQUENCE = "validation_spike"
"""Says by name of which other finding it is the consequence, and has its kind."""

NEAR = 2
"""Batches that a located finding may be off."""


@dataclass(frozen=True)
class Score:
    """How one training was judged.

    Attributes:
        truth: the cause that it has, or `HEALTHY`.
        said: the cause that leads its findings, or `NOTHING`.
        first, third: the truth leads the findings, or is among the first three; of a healthy one: it has no fault.
        located: the finding names the right boundary or a batch within two of the right one; None where there is none.
        others: findings of kind fault that are not true of it.
    """

    truth: str
    said: str
    first: bool
    third: bool
    located: bool | None
    others: tuple[str, ...]


def judge(truth: Truth, diagnosis: Diagnosis) -> Score:
    """The score of one training."""
    findings = [finding for finding in diagnosis.findings if finding.cause not in HARMLESS]
    known = {answer.partition("/")[0] for answer in truth.answers} | set(truth.may)
    others = tuple(_label(one) for one in findings if one.kind == "fault" and one.cause not in {*known, CONSEQUENCE})
    said = findings[0].cause if findings and findings[0].kind != "unknown" else NOTHING
    if not truth.answers:
        return Score(HEALTHY, said, not others, not others, None, others)
    right = [any(_is(finding, answer) for answer in truth.answers) for finding in findings]
    cause = truth.answers[0].partition("/")[0]
    at = right.index(True) if True in right else None
    first, third = at == 0, at is not None and at < 3
    if first:
        said = cause
    located = None
    if truth.epoch is not None or truth.step is not None:
        located = at is not None and _is_there(findings[at], truth, diagnosis)
    return Score(cause, said, first, third, located, others)


def _is(finding: Finding, answer: str) -> bool:
    cause, _, detail = answer.partition("/")
    return finding.cause == cause and detail in ("", finding.detail)


def _is_there(finding: Finding, truth: Truth, diagnosis: Diagnosis) -> bool:
    step = truth.step
    if truth.epoch is not None:
        if truth.epoch - 1 in finding.boundaries:
            return True
        begins = [boundary.step for boundary in diagnosis.boundaries if boundary.epoch == truth.epoch]
        step = begins[0] if begins else None
    return step is not None and bool(finding.steps) and abs(finding.steps[0] - step) <= NEAR


def _label(finding: Finding) -> str:
    return f"{finding.cause}/{finding.detail}" if finding.detail else finding.cause


def summary(scores: Iterable[Score]) -> dict[str, Any]:
    """Counts and shares over all trainings: numbers of the issue's bars, and the confusion matrix."""
    scores = list(scores)
    faulty = [score for score in scores if score.truth != HEALTHY]
    healthy = [score for score in scores if score.truth == HEALTHY]
    located = [score for score in faulty if score.located is not None]
    return {
        "trainings": len(scores),
        "faulty": len(faulty),
        "healthy": len(healthy),
        "right_cause_first": _share(score.first for score in faulty),
        "right_cause_in_first_three": _share(score.third for score in faulty),
        "located": _share(bool(score.located) for score in located),
        "nothing_said": _share(score.said == NOTHING for score in faulty),
        "false_fault_beside": _share(bool(score.others) for score in faulty),
        "healthy_with_a_fault": sum(bool(score.others) for score in healthy),
        "matrix": {
            truth: dict(Counter(score.said for score in scores if score.truth == truth).most_common())
            for truth in sorted({score.truth for score in scores})
        },
    }


def _share(flags: Iterable[bool]) -> float | None:
    found = list(flags)
    return round(sum(found) / len(found), 4) if found else None
