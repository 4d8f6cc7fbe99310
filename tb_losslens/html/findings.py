"""What was found in a run, each with its evidence and what to do; what was checked and is fine; and what was not checked."""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.finding import Checked, Diagnosis, Evidence, Finding, Skipped
from tb_losslens.analysis.text import percent
from tb_losslens.html.markup import Markup, escape, prose, tag
from tb_losslens.html.shapes import cause_words, mark


def findings(diagnosis: Diagnosis, *, unfolded: int = 2) -> list[Markup]:
    """All findings, best first; the first `unfolded` lie open, and the others with their heading.

    The advice for noise is not for a run that has a fault: it stays folded there.
    """
    out = []
    for place, finding in enumerate(diagnosis.findings):
        beside_fault = finding.cause == "batch_noise" and place > 0 and diagnosis.kind == "fault"
        out.append(_finding(finding, unfolded=place < unfolded and not beside_fault))
    return out


def _finding(finding: Finding, *, unfolded: bool) -> Markup:
    heading = tag("summary", mark(finding.kind, 13), tag("h3", finding.title), tag("span", _pill(finding), class_="pill"))
    rows = [_row("for", finding.evidence)] if finding.evidence else []
    rows.append(_row("against", finding.against or (Evidence("nothing found"),)))
    if finding.advice:
        rows.append(_row("advice", (finding.advice,)))
    if finding.fix:
        code = tag("pre", escape(finding.fix.strip("\n"), lines=True))
        rows.append(tag("div", tag("dt", "fix"), tag("dd", code)))
    if finding.confirm:
        rows.append(_row("confirm", (finding.confirm,)))
    if finding.missing:
        rows.append(_row("record", [f"`{line}`" for line in finding.missing]))
    body = [tag("p", prose(finding.text)), tag("dl", rows)]
    return tag("details", heading, body, class_=f"finding k-{finding.kind}", open="open" if unfolded else None)


def _row(label: str, lines: Sequence[str]) -> Markup:
    said: Markup = tag("p", prose(lines[0])) if len(lines) == 1 else tag("ul", [tag("li", prose(text)) for text in lines])
    return tag("div", tag("dt", label), tag("dd", said))


def _pill(finding: Finding) -> str:
    if finding.kind == "unknown":
        return "unknown"
    if not finding.explains_jump:
        return f"{finding.strength} \u00b7 not the jump"
    return finding.strength if finding.share is None else f"{finding.strength} \u00b7 {percent(finding.share)} of the jump"


def checked(items: Sequence[Checked]) -> Markup | None:
    """What was tested and does not hold; None where nothing was."""
    if not items:
        return None
    rows = [tag("div", tag("dt", cause_words(item.cause)), tag("dd", prose(item.text))) for item in items]
    return tag("details", tag("summary", tag("h3", f"Checked and fine ({len(items)})")), tag("dl", rows), class_="rest")


def skipped(items: Sequence[Skipped]) -> Markup | None:
    """What could not be tested, one line for each reason, with the line of code that would record it; None where all was."""
    if not items:
        return None
    by_remedy: dict[tuple[str, str], list[str]] = {}
    for item in items:
        by_remedy.setdefault((item.why, item.how), []).append(cause_words(item.cause))
    rows = []
    for (why, how), causes in by_remedy.items():
        remedy = tag("p", tag("code", how)) if how else None
        rows.append(tag("div", tag("dt", ", ".join(causes)), tag("dd", tag("p", prose(why)), remedy)))
    return tag("details", tag("summary", tag("h3", f"Not checked ({len(items)})")), tag("dl", rows), class_="rest")
