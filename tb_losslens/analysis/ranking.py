"""Which finding comes first, and which one each boundary is marked with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tb_losslens.analysis.finding import Boundary, Finding, Pooled

_SIGN = {"lr_increase": 1, "lr_decrease": -1, "memorization": -1, "epochal_sawtooth": -1, "hidden_state_reset": 1}
"""Way in which the loss moves by a cause that has one."""
_SYMPTOM = "validation_spike"
"""Named by what else was found, and of the held-out loss alone: it comes after all others."""
_HARM = (
    ("incomplete_shuffle", "repeated_order"),
    ("insufficient_data", "overfitting"),
    ("validation_mismatch", "overfitting"),
    ("input_shift", "validation_mismatch"),
)
"""Pairs of faults, of which the first does the harm."""
_NO_LATER = "input_shift"
"""The reason of a pair that must not begin after what it is the reason of."""
_SEEN_BEFORE = ("memorization", "epochal_sawtooth")
"""A loss that is lower for samples that were seen before, and are remembered or forgotten again."""
_HELD_OUT = ("label_noise", "insufficient_data", "overfitting")
"""What a model that learns its samples by heart shows in the held-out loss."""
_OF_A_NUMBER = "validation_aggregation"
"""How a number of the held-out data was made: the training is as it was."""
_STRENGTH = {"proved": 0, "likely": 1, "possible": 2}


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, best first: why the loss moved, then what is wrong beside it or was proved to be changed, then the rest.

    A proof outranks a correlation only if it also explains the jump; otherwise it stands beside it. Within a group the
    strength of the evidence decides, then the share of the jump, then the score; how a number of the held-out data was averaged
    comes after what is as sure and wrong with the training. Sorted samples come before the repeated order
    that is proved beside them, where neither explains the jump: the sorting does the harm. So do too few samples, before the
    overfitting to them, and other inputs in validation before it; what made them others in training comes before that. And
    where samples that were seen before explain the jumps, a held-out loss that rises meanwhile follows from the same, and
    stands right after it.
    """
    out = sorted(findings, key=_key)
    for reason, result in _HARM:
        _put_before(out, reason, result)
    seen = next((f for f in out if f.cause in _SEEN_BEFORE and f.explains_jump), None)
    after = [f for f in out if f.cause in _HELD_OUT and f.strength != "possible"] if seen is not None else []
    if seen is not None and after:
        out = [f for f in out if f not in after]
        out[out.index(seen) + 1 : out.index(seen) + 1] = after
    return tuple(out)


def _put_before(out: list[Finding], reason: str, result: str) -> None:
    """Moves the fault `reason` to right before the fault `result` where it stands behind it and neither explains the jump."""
    beside = [f.cause for f in out if not f.explains_jump and f.kind == "fault"]
    if reason in beside and result in beside[: beside.index(reason)]:
        moved, other = (next(f for f in out if f.cause == cause) for cause in (reason, result))
        if reason == _NO_LATER and (not moved.steps or not other.steps or moved.steps[0] > other.steps[0]):
            return
        out.remove(moved)
        out.insert(out.index(other), moved)


def _key(finding: Finding) -> tuple[int, int, bool, float, float]:
    actionable = finding.kind in ("artifact", "fault", "planned")
    if finding.cause == _SYMPTOM:
        group = 6
    elif finding.explains_jump and actionable:
        group = 0 if finding.kind == "artifact" else 1
    elif finding.kind in ("artifact", "fault") and finding.strength != "possible":
        group = 2
    elif finding.kind == "planned" and finding.strength == "proved":
        group = 2  # a state that was changed: more to act on than what is expected
    elif finding.kind == "unknown":
        group = 3
    elif finding.explains_jump:
        group = 4
    else:
        group = 5
    return group, _STRENGTH[finding.strength], finding.cause == _OF_A_NUMBER, -(finding.share or 0.0), -finding.score


def marked(boundaries: Sequence[Boundary], pooled: Pooled, findings: Sequence[Finding]) -> tuple[Boundary, ...]:
    """Boundaries with the kind and cause of the best finding that explains each; `findings` are ranked.

    A cause that lifts the loss marks no boundary at which it falls, and the other way round, though the loss may move its
    way over the epoch after it. A significant jump without one is "unknown"; a jump that is neither significant nor named by
    a finding is "none".
    """
    owner: dict[int, Finding] = {}
    jump = {boundary.index: boundary.jump for boundary in boundaries}
    for finding in findings:
        if finding.explains_jump or finding.kind == "unknown":
            for k in finding.boundaries:
                if not jump.get(k, 0.0) * _SIGN.get(finding.cause, 0) < 0:
                    owner.setdefault(k, finding)
    out = []
    for boundary in boundaries:
        best = owner.get(boundary.index)
        if best is not None:
            out.append(replace(boundary, kind=best.kind, cause=best.cause))
        elif boundary.significant and not pooled.reason:
            out.append(replace(boundary, kind="unknown"))
        else:
            out.append(boundary)
    return tuple(out)
