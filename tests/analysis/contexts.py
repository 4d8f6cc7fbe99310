"""What one cause says of a run, without the other causes."""

from __future__ import annotations

from typing import Any

from tb_losslens.analysis.context import Outcome
from tb_losslens.analysis.engine import build_context, decide
from tb_losslens.analysis.finding import Checked, Finding, Skipped
from tb_losslens.store.run import Run


def outcomes(cause: Any, run: Run) -> list[Outcome]:
    """The outcomes of one cause; fails where the cause itself failed."""
    said = decide(cause, build_context(run))
    assert not [o for o in said if isinstance(o, Skipped) and o.why.startswith("failed")], said
    return said


def findings(cause: Any, run: Run) -> list[Finding]:
    return [outcome for outcome in outcomes(cause, run) if isinstance(outcome, Finding)]


def faults(cause: Any, run: Run) -> list[Finding]:
    return [finding for finding in findings(cause, run) if finding.kind == "fault"]


def checked(cause: Any, run: Run) -> str:
    """The sentence of a cause that was tested and is fine; fails where it found something."""
    said = outcomes(cause, run)
    assert len(said) == 1, said
    assert isinstance(said[0], Checked), said
    return said[0].text


def skipped(cause: Any, run: Run) -> Skipped:
    said = outcomes(cause, run)
    assert len(said) == 1, said
    assert isinstance(said[0], Skipped), said
    return said[0]
