"""A diagnosis as markdown that can be pasted into an issue."""

from __future__ import annotations

import math
import re

from tb_losslens.analysis.finding import Diagnosis, Finding
from tb_losslens.analysis.text import percent, plural, signed, visible
from tb_losslens.analysis.verdict import KINDS


def to_markdown(diagnosis: Diagnosis, *, rows: int = 20) -> str:
    """Verdict, findings with their evidence, the largest boundaries (at most `rows`), what was checked and what was not."""
    size = f"{plural(diagnosis.batches, 'point' if diagnosis.plain else 'batch')}, {plural(diagnosis.epochs, 'epoch')}"
    parts = [f"## {escape(diagnosis.run)}: {escape(diagnosis.headline)}", ""]
    parts += [escape(" ".join(x for x in (diagnosis.subline, diagnosis.aside) if x)), "", f"*{size}*", ""]
    if diagnosis.unchecked:
        parts += [escape(diagnosis.unchecked), ""]
    for finding in diagnosis.findings:
        parts += _finding(finding)
    measured = [b for b in diagnosis.boundaries if math.isfinite(b.jump)]
    if measured:
        kept = sorted(sorted(measured, key=lambda b: -abs(b.z) if math.isfinite(b.z) else 0.0)[:rows], key=lambda b: b.index)
        title = (
            "### Boundaries" if len(kept) == len(measured) else f"### Boundaries, the {len(kept)} largest of {len(measured):,}"
        )
        parts += [title, "", "| boundary | step | jump | z | shape | cause |", "|--:|--:|--:|--:|---|---|"]
        for b in kept:
            z = signed(b.z) if math.isfinite(b.z) else "–"
            quiet = f"not measurable: {b.unmeasured}" if b.unmeasured else "not clear" if b.unclear else "–"
            shape = b.shape.replace("_", " ") if b.shape != "none" else "–"
            parts.append(f"| {b.index + 1} | {b.step:,} | {signed(b.jump)} | {z} | {shape} | {escape(b.cause) or quiet} |")
        parts.append("")
    if diagnosis.samples is not None and not diagnosis.plain:
        told = (*diagnosis.samples.text, *diagnosis.samples.untold)
        parts += ["### Samples", "", *(f"- {escape(text)}" for text in told), ""]
    if diagnosis.checked:
        parts += ["### Checked, fine", ""] + [f"- {escape(c.cause)}: {escape(c.text)}" for c in diagnosis.checked] + [""]
    if diagnosis.skipped and not diagnosis.plain:  # of which one sentence above says all
        parts += ["### Not checked", ""]
        for item in diagnosis.skipped:
            parts.append(f"- {escape(item.cause)}: {escape(item.why)}" + (f" (`{item.how}`)" if item.how else ""))
        parts.append("")
    if diagnosis.problems:
        parts += ["### Could not be read", ""] + [f"- {escape(p)}" for p in diagnosis.problems] + [""]
    return "\n".join(parts).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that markdown shows as it is: no HTML, no table cells, no line breaks; code in backquotes is left alone."""
    flat = visible(" ".join(text.split()))
    pieces = re.split(r"(`[^`]*`)", flat)
    return "".join(p if p.startswith("`") and len(p) > 1 else re.sub(r"([\\*_|<>\[\]#])", r"\\\1", p) for p in pieces)


def _finding(finding: Finding) -> list[str]:
    share = f", {percent(finding.share)} of the jump" if finding.share is not None and finding.explains_jump else ""
    out = [
        f"### {escape(finding.title)} ({KINDS[finding.kind].lower()}, {finding.strength}{share})",
        "",
        escape(finding.text),
        "",
    ]
    out += [f"- for: {escape(e)}" for e in finding.evidence]
    out += [f"- against: {escape(e)}" for e in finding.against] or ["- against: nothing found"]
    out += [f"- would make it certain: `{line}`" for line in finding.missing]
    out.append("")
    if finding.advice:
        out += [escape(finding.advice), ""]
    if finding.fix:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", finding.fix)), default=0))
        out += [f"{fence}python", finding.fix.rstrip(), fence, ""]
    if finding.confirm:
        out += [f"To confirm: {escape(finding.confirm)}", ""]
    return out
