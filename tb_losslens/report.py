"""Writes diagnoses for people without a browser: as text for a terminal, as JSON for programs, as markdown for an issue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tb_losslens.analysis.finding import Boundary, Diagnosis, Finding
from tb_losslens.analysis.markdown import escape
from tb_losslens.analysis.text import number, plural, signed, visible
from tb_losslens.strict_json import dumps

SCHEMA = 1
"""Version of the JSON report; a key that changes its meaning raises it, a new key does not."""

_STYLE = {"fault": "bold red", "artifact": "magenta", "planned": "cyan", "benign": "green", "unknown": "bold"}
_MARK = {"fault": "▲", "artifact": "◆", "planned": "■", "benign": "●", "unknown": "?", "none": "·"}
_MOST_NAMED = 12
_CODE_INDENT = 6


class LeftOut(NamedTuple):
    """A run without a recording, and why its scalars do not do in its place, as sentences."""

    run: str
    why: str = ""


def to_json(diagnoses: Sequence[Diagnosis], left_out: Sequence[LeftOut] = ()) -> str:
    """`{"schema": 1, "runs": [...], "unrecorded": [...], "left_out": [...]}`; numbers that are not finite are null.

    `runs` has one `Diagnosis.to_dict()` each, `unrecorded` the names of runs that have event files, no recording, and scalars
    that tell nothing; `left_out` says why, as `{"run", "why"}`.
    """
    runs = [diagnosis.to_dict() for diagnosis in diagnoses]
    why = [{"run": one.run, "why": one.why} for one in left_out]
    return dumps({"schema": SCHEMA, "runs": runs, "unrecorded": [one.run for one in left_out], "left_out": why}, indent=2)


def to_markdown(diagnoses: Sequence[Diagnosis], left_out: Sequence[LeftOut] = ()) -> str:
    """One section a run, to paste into an issue, and a line that names the runs without a recording."""
    sections = [diagnosis.to_markdown().strip() for diagnosis in diagnoses]
    if left_out:
        names = [f"`{visible(one.run).replace('`', chr(39))}`" for one in left_out]
        why = [f"- {name}: {escape(one.why)}" for name, one in zip(names, left_out, strict=True) if one.why]
        sections.append("\n".join([*why[:_MOST_NAMED], "", _unrecorded(names)]).strip())
    return "\n\n".join(sections)


def print_unrecorded(left_out: Sequence[LeftOut], console: Console) -> None:
    """Prints which runs have nothing to diagnose, each with why, and then what to do; nothing where there is none."""
    if not left_out:
        return
    console.rule(style="dim")
    for one in left_out[:_MOST_NAMED]:
        if one.why:
            console.print(Text(f"{visible(one.run)}: {visible(one.why)}", style="dim"))
    console.print(Text(_unrecorded([visible(one.run) for one in left_out]), style="dim"))


def _unrecorded(names: Sequence[str]) -> str:
    named = ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
    return f"Left out, not recorded with LossLens: {named}. LossLensWriter in place of SummaryWriter records a run."


def print_text(diagnosis: Diagnosis, console: Console, *, findings: int = 5, boundaries: int = 10) -> None:
    """Prints one run: the verdict, then what supports it, then the boundaries. About one screen.

    Args:
        diagnosis: what to print.
        console: where to.
        findings: how many are printed with their evidence; the others with their title.
        boundaries: how many rows the table has at most; the strongest are kept.
    """
    console.print(Text.assemble((visible(diagnosis.run), "bold"), (f"   {_size(diagnosis)}", "dim")))
    console.print()
    kind = diagnosis.kind
    console.print(Text.assemble((f"{_MARK[kind]} {kind.upper()}  ", _STYLE[kind]), (visible(diagnosis.verdict), "bold")))
    if diagnosis.unchecked:
        console.print(Text(visible(diagnosis.unchecked)))
    for problem in diagnosis.problems:
        console.print(Text(f"! {visible(problem)}", style="yellow"))
    for place, finding in enumerate(diagnosis.findings, 1):
        console.print()
        beside_fault = finding.cause == "batch_noise" and place > 1 and kind == "fault"  # its advice is not for this run
        if place <= findings and not beside_fault:
            _print_finding(place, finding, console)
        else:
            console.print(_title(place, finding))
    if diagnosis.boundaries:
        console.print()
        console.print(_table(diagnosis.boundaries, boundaries))
    if diagnosis.samples is not None and not diagnosis.plain:
        console.print()
        rows = _labelled()
        for sentence in diagnosis.samples.text:
            rows.add_row("" if rows.row_count else "samples", Text(visible(sentence)))
        for sentence in diagnosis.samples.untold:
            rows.add_row("" if rows.row_count else "samples", Text(visible(sentence), style="dim"))
        console.print(rows)
    _print_rest(diagnosis, console)


def _print_finding(place: int, finding: Finding, console: Console) -> None:
    console.print(_title(place, finding))
    rows = _labelled()
    rows.add_row("what", Text(visible(finding.text)))
    for sentence in finding.evidence:
        rows.add_row("for", Text(visible(sentence)))
    for sentence in finding.against:
        rows.add_row("against", Text(visible(sentence)))
    if not finding.against:
        rows.add_row("against", Text("nothing found", style="dim"))
    if finding.advice:
        rows.add_row("advice", Text(visible(finding.advice)))
    if finding.fix:
        console.print(Padding(rows, (0, 0, 0, 3)))
        _print_code(finding.fix, console)
        rows = _labelled()
    if finding.confirm:
        rows.add_row("confirm", Text(visible(finding.confirm)))
    for line in finding.missing:
        rows.add_row("record", Text(visible(line), style="dim"))
    if rows.row_count:
        console.print(Padding(rows, (0, 0, 0, 3)))


def _labelled() -> Table:
    rows = Table.grid(padding=(0, 1))
    rows.add_column(style="dim", no_wrap=True, min_width=len("confirm"))
    rows.add_column()
    return rows


def _print_code(code: str, console: Console) -> None:
    """Prints code below its label, each of its lines whole and indented alike: a wrapped line would not run when pasted."""
    console.print(Text("   fix", style="dim"))
    lines = "\n".join(f"{' ' * _CODE_INDENT}{line}" if line else "" for line in visible(code, lines=True).split("\n"))
    console.print(Text(lines, style="cyan"), soft_wrap=True)


def _title(place: int, finding: Finding) -> Text:
    share = "" if finding.share is None else f", {finding.share:.0%} of the jump"
    aside = "" if finding.explains_jump or finding.kind == "unknown" else ", not why the loss moved"
    return Text.assemble(
        f"{place}. ",
        (f"{_MARK[finding.kind]} {visible(finding.title)}", _STYLE[finding.kind]),
        (f"   {finding.kind}, {finding.strength}{share}{aside}", "dim"),
    )


def _table(boundaries: Sequence[Boundary], limit: int) -> Table:
    kept = sorted(sorted(boundaries, key=_strength, reverse=True)[:limit], key=lambda boundary: boundary.index)
    caption = None
    if len(kept) < len(boundaries):
        caption = f"the {len(kept)} strongest of {len(boundaries)}; --format json has all"
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left", header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("epoch", "step", "before", "after", "jump", "z"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("shape")
    table.add_column("cause")
    for boundary in kept:
        table.add_row(
            Text(_MARK.get(boundary.kind, "·"), style=_STYLE.get(boundary.kind, "dim")),
            str(boundary.epoch),
            f"{boundary.step:,}",
            _or_dash(boundary.before, number),
            _or_dash(boundary.after, number),
            _or_dash(boundary.jump, signed),
            _or_dash(boundary.z, signed),
            boundary.shape if boundary.shape != "none" else "",
            boundary.cause if boundary.kind != "none" else Text(_quiet(boundary), style="dim"),
        )
    return table


def _quiet(boundary: Boundary) -> str:
    """What is said of a boundary that no finding names."""
    if boundary.unmeasured:
        return f"not measurable: {boundary.unmeasured}"
    return "not clear" if boundary.unclear else "within noise"


def _print_rest(diagnosis: Diagnosis, console: Console) -> None:
    fine = [item.cause for item in diagnosis.checked if item.cause != "unknown"]  # which is no cause that one could check
    if fine:
        console.print()
        console.print(Text(f"checked and fine: {', '.join(fine)}", style="dim"))
    if diagnosis.skipped and not diagnosis.plain:  # of which one sentence above says all
        console.print()
        console.print(Text("not checked:", style="dim"))
        by_remedy: dict[tuple[str, str], list[str]] = {}
        for item in diagnosis.skipped:
            by_remedy.setdefault((item.why, item.how), []).append(item.cause)
        for (why, how), causes in by_remedy.items():
            line = f"  {', '.join(causes)}: {visible(why)}" + (f"  ->  {visible(how)}" if how else "")
            console.print(Text(line, style="dim"))


def _size(diagnosis: Diagnosis) -> str:
    rows = plural(diagnosis.batches, "point" if diagnosis.plain else "batch")
    return f"{rows}, {plural(diagnosis.epochs, 'epoch')}"


def _strength(boundary: Boundary) -> float:
    return abs(boundary.z) if math.isfinite(boundary.z) else -1.0


def _or_dash(value: float, written: Callable[[float], str]) -> str:
    """A number as the sentences above and the page write it."""
    return written(value) if math.isfinite(value) else "-"

