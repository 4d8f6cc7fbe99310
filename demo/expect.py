"""The true answer of a demo run, and in what a diagnosis departs from it."""

from __future__ import annotations

from dataclasses import dataclass

from tb_losslens.analysis.finding import Diagnosis, Finding

HARMLESS = frozenset({"batch_noise"})
"""Causes that may stand beside any answer: they say that a jump is within noise, which is always true of some boundary."""


@dataclass(frozen=True)
class Expect:
    """What is true of one training.

    Attributes:
        kinds: kinds that the verdict may have.
        first: causes that may lead the findings, each as "cause" or "cause/detail"; "" if there may be none.
        also: causes that must be among the findings.
        may: further causes that are true of the run and may be found, without having to.
        boundaries: boundaries (0 is the first) that the leading finding must name.
        first_step: range `low <= step < high` in which the leading finding's first step lies.
        direction: sign that all boundaries together must have, None if it does not matter.
        strength: how sure the leading finding must be, "" if it does not matter.
    """

    kinds: tuple[str, ...]
    first: tuple[str, ...]
    also: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    boundaries: tuple[int, ...] = ()
    first_step: tuple[int, int] | None = None
    direction: int | None = None
    strength: str = ""

    def disagreements(self, diagnosis: Diagnosis) -> list[str]:
        """One sentence for each way in which `diagnosis` is not the truth; empty if it is."""
        wrong = []
        if diagnosis.kind not in self.kinds:
            wrong.append(f"verdict is {diagnosis.kind}, the truth is {' or '.join(self.kinds)}")
        findings = [finding for finding in diagnosis.findings if finding.cause not in HARMLESS]
        lead = findings[0] if findings else None
        if not any(_names(lead, answer) for answer in self.first):
            truth = " or ".join(answer or "nothing" for answer in self.first)
            wrong.append(f"the leading finding is {_label(lead)}, the truth is {truth}")
        true_of_run = {answer.partition("/")[0] for answer in self.first} | {*self.also, *self.may}
        wrong += [f"{_label(f)} is not true of this run" for f in findings if f.cause not in true_of_run]
        found = {finding.cause for finding in findings}
        wrong += [f"{cause} was not found" for cause in self.also if cause not in found]
        if self.direction is not None and diagnosis.pooled.direction != self.direction:
            wrong.append(f"all boundaries together go {diagnosis.pooled.direction:+d}, the truth is {self.direction:+d}")
        if lead is not None and any(_names(lead, answer) for answer in self.first):
            wrong += self._about_lead(lead)
        return wrong

    def _about_lead(self, lead: Finding) -> list[str]:
        wrong = []
        absent = sorted(set(self.boundaries) - set(lead.boundaries))
        if absent:
            wrong.append(f"{_label(lead)} names boundaries {list(lead.boundaries)}, not {absent}")
        if self.first_step is not None:
            low, high = self.first_step
            if not lead.steps or not low <= lead.steps[0] < high:
                wrong.append(f"{_label(lead)} starts at step {lead.steps[:1]}, the truth lies in {low}..{high - 1}")
        if self.strength and lead.strength != self.strength:
            wrong.append(f"{_label(lead)} is called {lead.strength}, the truth is {self.strength}")
        return wrong


NOTHING_WRONG = Expect(kinds=("benign",), first=("",))
"""A training without a jump beyond noise."""


def _names(finding: Finding | None, answer: str) -> bool:
    """True if `finding` is what `answer` ("cause", "cause/detail" or "") says."""
    if finding is None:
        return answer == ""
    cause, _, detail = answer.partition("/")
    return finding.cause == cause and (not detail or finding.detail == detail)


def _label(finding: Finding | None) -> str:
    if finding is None:
        return "nothing"
    return f"{finding.cause}/{finding.detail}" if finding.detail else finding.cause
