"""What the diagnosis says: findings with evidence, what was checked and is fine, and what could not be checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tb_losslens.analysis.measured import Boundary, Pooled

if TYPE_CHECKING:
    from tb_losslens.analysis.samples import Samples

__all__ = [
    "Boundary", "Checked", "Diagnosis", "Evidence", "Finding", "Kind", "Pooled", "Skipped", "Strength",
]  # fmt: skip

Kind = Literal["artifact", "benign", "planned", "fault", "unknown"]
Strength = Literal["proved", "likely", "possible"]


class Evidence(str):
    """A sentence with a number in it, and where on the page that number is drawn.

    It is a `str`, so a list of evidence joins and prints like any text.
    """

    __slots__ = ("signal", "span")
    signal: str | None
    span: tuple[int, int] | None

    def __new__(cls, text: str, signal: str | None = None, span: tuple[int, int] | None = None) -> Evidence:
        """`signal` is a column name, `span` the rows `first <= row < last` that show it."""
        self = super().__new__(cls, text)
        self.signal = signal
        self.span = span
        return self

    def where(self) -> dict[str, Any] | None:
        """JSON form of `signal` and `span`, or None where there is nothing to show."""
        if self.signal is None and self.span is None:
            return None
        return {"signal": self.signal, "span": list(self.span) if self.span else None}


@dataclass(frozen=True)
class Finding:
    """One cause that holds in this run.

    Attributes:
        cause: an id of the catalogue, as `lr_increase`.
        kind: what it means for the reader.
        strength: proved (an equality or identity), likely (a test with effect size and p), possible.
        title: a few words for a heading, as "LR raised at the boundary".
        text: one or two sentences with the run's own numbers.
        detail: its sub-kind, as `scheduler_reset`, or "".
        score: 0..1, how well the evidence supports it; ranking is by kind of evidence first, then by this.
        boundaries: indices into `Diagnosis.boundaries` where it acts.
        steps: global steps where it shows, the first one first.
        share: part of the jump (pooled over `boundaries`) that it accounts for, 0..1, or None if that cannot be told.
        explains_jump: False for a fault that holds but is not why the loss moved.
        evidence: sentences for it.
        against: sentences against it; empty means that nothing was found.
        missing: lines of code that would record what is missing for certainty.
        advice: what to do, one sentence or more.
        fix: Python code with the run's own numbers, or "".
        confirm: the cheapest step that would confirm or refute it.
    """

    cause: str
    kind: Kind
    strength: Strength
    title: str
    text: str
    detail: str = ""
    score: float = 0.5
    boundaries: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    share: float | None = None
    explains_jump: bool = True
    evidence: tuple[Evidence, ...] = ()
    against: tuple[Evidence, ...] = ()
    missing: tuple[str, ...] = ()
    advice: str = ""
    fix: str = ""
    confirm: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `evidence_at` and `against_at` run parallel to `evidence` and `against`."""
        return {
            "cause": self.cause,
            "detail": self.detail,
            "kind": self.kind,
            "strength": self.strength,
            "title": self.title,
            "text": self.text,
            "score": round(float(self.score), 4),
            "boundaries": list(self.boundaries),
            "steps": list(self.steps),
            "share": None if self.share is None else round(float(self.share), 4),
            "explains_jump": self.explains_jump,
            "evidence": [str(item) for item in self.evidence],
            "evidence_at": [item.where() for item in self.evidence],
            "against": [str(item) for item in self.against],
            "against_at": [item.where() for item in self.against],
            "missing": list(self.missing),
            "advice": self.advice,
            "fix": self.fix,
            "confirm": self.confirm,
        }


@dataclass(frozen=True)
class Checked:
    """A cause that was tested and does not hold: `text` says what was seen instead, with a number."""

    cause: str
    text: str


@dataclass(frozen=True)
class Skipped:
    """A cause that could not be tested: `why`, and the line of code that would record what it needs (`how`)."""

    cause: str
    why: str
    how: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything that is said of one run.

    Attributes:
        run: its name.
        verdict: headline and cause in one line, as the run list and the report print it.
        headline, subline: the same in two: what the loss does (with numbers), and why.
        aside: the small print behind the headline, as "(18x the noise, p < 0.001)".
        kind: kind of the best finding; "benign" if there is nothing to report.
        short: a few words for the run list, as "jumps up 11 of 11".
        boundaries, pooled: the measurement.
        findings: ranked, best first.
        checked: what was tested and is fine.
        skipped: what could not be tested, and how to record it.
        unchecked: one sentence on it for the first screen where the verdict is calm, else "".
        problems: what could not be read.
        batches, epochs: size of the run.
        plain: it was made from ordinary scalars, so that `batches` counts logged losses.
        samples: what is known of single samples; None for a run without a batch.
    """

    run: str
    verdict: str
    kind: Kind
    headline: str = ""
    subline: str = ""
    aside: str = ""
    short: str = ""
    boundaries: tuple[Boundary, ...] = ()
    pooled: Pooled = field(default_factory=Pooled)
    findings: tuple[Finding, ...] = ()
    checked: tuple[Checked, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    unchecked: str = ""
    problems: tuple[str, ...] = ()
    batches: int = 0
    epochs: int = 0
    plain: bool = False
    samples: Samples | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the one that the page, `losslens report --format json` and the library share."""
        pooled = {name: getattr(self.pooled, name) for name in ("direction", "up", "down", "total", "p", "reason")}
        for name in ("median", "z"):
            value = float(getattr(self.pooled, name))
            pooled[name] = value if math.isfinite(value) else None
        return {
            "run": self.run,
            "verdict": self.verdict,
            "kind": self.kind,
            "headline": self.headline,
            "subline": self.subline,
            "aside": self.aside,
            "short": self.short,
            "batches": self.batches,
            "epochs": self.epochs,
            "plain": self.plain,
            "pooled": pooled,
            "boundaries": [boundary.to_dict() for boundary in self.boundaries],
            "findings": [finding.to_dict() for finding in self.findings],
            "checked": [{"cause": item.cause, "text": item.text} for item in self.checked],
            "skipped": [{"cause": item.cause, "why": item.why, "how": item.how} for item in self.skipped],
            "unchecked": self.unchecked,
            "problems": list(self.problems),
            "samples": self.samples.to_dict() if self.samples is not None else None,
        }

    def to_markdown(self) -> str:
        """The same as markdown that can be pasted into an issue."""
        from tb_losslens.analysis.markdown import to_markdown

        return to_markdown(self)
