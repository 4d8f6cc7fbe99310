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
from tb_losslens.analysis.samples import Samples
from tb_losslens.analysis.text import number, plural, signed, visible
from tb_losslens.strict_json import dumps

SCHEMA = 1
"""Version of the JSON report; a key that changes its meaning raises it, a new key does not."""

_STYLE = {"fault": "bold red", "artifact": "magenta", "planned": "cyan", "benign": "green", "unknown": "bold"}
_MARK = {"fault": "▲", "artifact": "◆", "planned": "■", "benign": "●", "unknown": "?", "none": "·"}
_MOST_NAMED = 12
_CODE_INDENT = 6

_SHOWN, _EVIDENCE, _CAUSES, _SKIPPED = 4, 5, 8, 3
"""What one screen has room for: findings with their sentence, evidence of the first one, causes by name, reasons."""


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
    if len(diagnoses) > 1:
        sections.insert(0, _table_of_runs(diagnoses))
    if left_out:
        names = [f"`{visible(one.run).replace('`', chr(39))}`" for one in left_out]
        why = [f"- {name}: {escape(one.why)}" for name, one in zip(names, left_out, strict=True) if one.why]
        sections.append("\n".join([*why[:_MOST_NAMED], "", _unrecorded(names)]).strip())
    return "\n\n".join(sections)


def _table_of_runs(diagnoses: Sequence[Diagnosis]) -> str:
    cells = [(escape(d.run), d.kind, f"{d.batches:,}", f"{d.epochs:,}", escape(d.short or d.headline)) for d in diagnoses]
    head = ["| run | kind | batches | epochs | in short |", "|---|---|--:|--:|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in cells)])


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


def print_runs(diagnoses: Sequence[Diagnosis], console: Console) -> None:
    """Prints one line for each run: its kind, its size, and what is said of it in a few words."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("kind")
    table.add_column("batches", justify="right", no_wrap=True)
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("in short")
    for one in diagnoses:
        style = _STYLE[one.kind]
        name, mark, kind = Text(visible(one.run), style="bold"), Text(_MARK[one.kind], style=style), Text(one.kind, style=style)
        table.add_row(mark, name, kind, f"{one.batches:,}", f"{one.epochs:,}", Text(visible(one.short or one.headline)))
    console.print(table)


def print_text(diagnosis: Diagnosis, console: Console, *, full: bool = False, boundaries: int = 10) -> None:
    """Prints one run: the verdict, then what supports it, then the boundaries. One screen, unless `full`.

    Args:
        diagnosis: what to print.
        console: where to.
        full: all evidence of all findings, and all names; else that of the first finding, and the sentence of the next ones.
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
        beside_fault = finding.cause == "batch_noise" and place > 1 and kind == "fault"  # its advice is not for this run
        if place <= 2 or full:
            console.print()
        if beside_fault or (place > _SHOWN and not full):
            console.print(_title(place, finding))
        elif place == 1 or full:
            _print_finding(place, finding, console, most=len(finding.evidence) if full else _EVIDENCE)
        else:
            _print_in_short(place, finding, console)
    if diagnosis.boundaries:
        console.print()
        console.print(_table(diagnosis.boundaries, boundaries))
    if diagnosis.samples is not None and not diagnosis.plain:
        _print_samples(diagnosis.samples, console, full=full)
    _print_rest(diagnosis, console, full=full)


def _print_samples(samples: Samples, console: Console, *, full: bool) -> None:
    """All that is known of single samples, or where not `full` what stands out."""
    told = samples.text if full else samples.striking
    rows = _labelled()
    for sentence in told:
        rows.add_row("" if rows.row_count else "samples", Text(visible(sentence)))
    for sentence in samples.untold if full else ():
        rows.add_row("" if rows.row_count else "samples", Text(visible(sentence), style="dim"))
    if rows.row_count:
        console.print()
        console.print(rows)


def _print_in_short(place: int, finding: Finding, console: Console) -> None:
    """What a finding says, and what to do where there is something to do."""
    console.print(_title(place, finding))
    rows = _labelled()
    rows.add_row("what", Text(visible(finding.text)))
    if finding.advice and finding.kind in ("fault", "artifact"):
        rows.add_row("advice", Text(visible(finding.advice)))
    console.print(Padding(rows, (0, 0, 0, 3)))


def _print_finding(place: int, finding: Finding, console: Console, *, most: int) -> None:
    console.print(_title(place, finding))
    rows = _labelled()
    rows.add_row("what", Text(visible(finding.text)))
    for sentence in finding.evidence[:most]:
        rows.add_row("for", Text(visible(sentence)))
    if len(finding.evidence) > most:
        rows.add_row("", Text(f"and {len(finding.evidence) - most} more: --full", style="dim"))
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
        (f"   {finding.cause}: {finding.kind}, {finding.strength}{share}{aside}", "dim"),
    )


def _table(boundaries: Sequence[Boundary], limit: int) -> Table:
    kept = sorted(sorted(boundaries, key=_strength, reverse=True)[:limit], key=lambda boundary: boundary.index)
    caption = None
    if len(kept) < len(boundaries):
        caption = f"the {len(kept)} strongest of {len(boundaries):,}; --format json has all"
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


def _print_rest(diagnosis: Diagnosis, console: Console, *, full: bool) -> None:
    fine = [item.cause for item in diagnosis.checked if item.cause != "unknown"]  # which is no cause that one could check
    if fine:
        console.print()
        named = fine if full or len(fine) <= _CAUSES else fine[:_CAUSES]
        more = f" and {len(fine) - len(named)} more: --full" if len(fine) > len(named) else ""
        console.print(Text(f"checked and fine: {', '.join(named)}{more}", style="dim"))
    if diagnosis.skipped and not diagnosis.plain:  # of which one sentence above says all
        console.print(Text("not checked:", style="dim"))
        by_remedy: dict[tuple[str, str], list[str]] = {}
        for item in diagnosis.skipped:
            by_remedy.setdefault((item.why, item.how), []).append(item.cause)
        shown = list(by_remedy.items())
        for (why, how), causes in shown if full else shown[:_SKIPPED]:
            line = f"  {', '.join(causes)}: {visible(why)}" + (f"  ->  {visible(how)}" if how else "")
            console.print(Text(line, style="dim"))
        if len(shown) > _SKIPPED and not full:
            left = sum(len(causes) for _, causes in shown[_SKIPPED:])
            console.print(Text(f"  and {plural(left, 'cause')} more: --full", style="dim"))


def _size(diagnosis: Diagnosis) -> str:
    rows = plural(diagnosis.batches, "point" if diagnosis.plain else "batch")
    return f"{rows}, {plural(diagnosis.epochs, 'epoch')}"


def _strength(boundary: Boundary) -> float:
    return abs(boundary.z) if math.isfinite(boundary.z) else -1.0


def _or_dash(value: float, written: Callable[[float], str]) -> str:
    """A number as the sentences above and the page write it."""
    return written(value) if math.isfinite(value) else "-"

