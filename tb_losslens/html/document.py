"""The whole report: one file, with its styles and drawings in it, that asks for nothing and runs no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import resources

from tb_losslens import __version__
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.analysis.text import plural
from tb_losslens.html.markup import Markup, prose, tag
from tb_losslens.html.section import section
from tb_losslens.html.shapes import WORDS, mark
from tb_losslens.html.timeline import sparkline
from tb_losslens.store.run import Run

_ORDER = ("fault", "artifact", "unknown", "planned", "benign")
_MOST_NAMED = 12
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for this page: nothing."""


def to_html(runs: Sequence[tuple[Run, Diagnosis]], unrecorded: Sequence[tuple[str, str]] = ()) -> str:
    """A report on `runs`, those with a fault first, as a document that is HTML and well-formed XML.

    Args:
        runs: each with its diagnosis, whose `run` is the name that is shown.
        unrecorded: names of runs that have event files and no recording, and why their scalars do not do, or "".
    """
    ordered = sorted(runs, key=lambda pair: _ORDER.index(pair[1].kind))
    kinds: Counter[str] = Counter(diagnosis.kind for _, diagnosis in ordered)
    sections = [_guarded(run, diagnosis, f"run-{place}") for place, (run, diagnosis) in enumerate(ordered, 1)]
    main = [
        _top(kinds, ordered) if len(ordered) != 1 else None,
        tag("p", _unrecorded(unrecorded), class_="note") if unrecorded else None,
        sections,
    ]
    title = ordered[0][1].run if len(ordered) == 1 else plural(len(ordered), "run")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"LossLens: {title}"),
        tag("style", Markup(resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8"))),
    )
    foot = tag("footer", f"LossLens {__version__}. ", prose("The numbers are those of `losslens report --format json`."))
    page = tag("html", head, tag("body", tag("main", main), foot), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _top(kinds: Counter[str], runs: Sequence[tuple[Run, Diagnosis]]) -> Markup:
    """How many runs there are of each kind, and a line for each run."""
    counts = [
        tag("li", mark(kind, 13), tag("b", f"{kinds[kind]:,}"), f" {_counted(kind, kinds[kind])}", class_=f"k-{kind}")
        for kind in _ORDER
        if kinds[kind]
    ]
    rows = [_row(run, diagnosis, f"run-{place}") for place, (run, diagnosis) in enumerate(runs, 1)]
    heads = [
        tag("th", text, scope="col", class_=extra)
        for text, extra in (("run", None), ("verdict", None), ("loss", "loss"), ("batches", "number"), ("epochs", "number"))
    ]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="runs")
    return tag(
        "section",
        tag("h1", plural(len(runs), "run")),
        tag("ul", counts, class_="counts"),
        tag("div", table, class_="panel"),
        class_="top",
    )


def _counted(kind: str, count: int) -> str:
    first, *rest = WORDS[kind].split(" ")
    return " ".join([f"{first}s" if kind in ("fault", "artifact") and count > 1 else first, *rest])


def _row(run: Run, diagnosis: Diagnosis, anchor: str) -> Markup:
    name = tag("a", mark(diagnosis.kind, 12, named=True), tag("span", diagnosis.run), href=f"#{anchor}")
    verdict = [
        tag("p", diagnosis.headline, class_="headline"),
        tag("p", prose(diagnosis.subline), class_="subline") if diagnosis.subline else None,
    ]
    return tag(
        "tr",
        tag("th", name, scope="row"),
        tag("td", verdict),
        tag("td", sparkline(run), class_="loss"),
        tag("td", f"{diagnosis.batches:,}", class_="number"),
        tag("td", f"{diagnosis.epochs:,}", class_="number"),
        class_=f"k-{diagnosis.kind}",
    )


def _guarded(run: Run, diagnosis: Diagnosis, anchor: str) -> Markup:
    """The section of a run; one that cannot be drawn must not take the others along."""
    try:
        return section(run, diagnosis, anchor)
    except Exception as error:  # noqa: BLE001 - said in the run's own place
        said = f"{diagnosis.verdict} (The charts of this run could not be drawn: {type(error).__name__}: {error})"
        return tag(
            "article",
            tag("p", tag("b", diagnosis.run), class_="name"),
            tag("p", said),
            id=anchor,
            class_=f"run k-{diagnosis.kind}",
        )


def _unrecorded(left_out: Sequence[tuple[str, str]]) -> str:
    more = f"; and {len(left_out) - _MOST_NAMED:,} more" if len(left_out) > _MOST_NAMED else ""
    named = [f"{name} ({why.rstrip('.')})" if why else name for name, why in left_out[:_MOST_NAMED]]
    return f"Left out, not recorded with LossLens: {'; '.join(named)}{more}."
