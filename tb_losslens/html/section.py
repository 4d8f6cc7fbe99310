"""One run as a section of the report: verdict, curve, findings, the boundary that shows most, and all boundaries."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.text import percent, plural
from tb_losslens.html import lens as lens_chart
from tb_losslens.html.boundary_table import boundary_table
from tb_losslens.html.findings import checked, findings, skipped
from tb_losslens.html.markup import Markup, prose, tag
from tb_losslens.html.samples import samples_panel
from tb_losslens.html.shapes import mark
from tb_losslens.html.timeline import timeline
from tb_losslens.html.waterfall import waterfall
from tb_losslens.store.run import Run


def section(run: Run, diagnosis: Diagnosis, anchor: str) -> Markup:
    """Everything on one run; `anchor` is what the table of runs links to."""
    drawn = timeline(run, diagnosis)
    left = findings(diagnosis)
    # of a plain log one sentence of the head says all that it does not show
    samples, left_out = (None, ()) if diagnosis.plain else (diagnosis.samples, diagnosis.skipped)
    right = [panel for panel in (_boundary(run, diagnosis), samples_panel(samples)) if panel is not None]
    both = tag(
        "div", tag("div", left, class_="column"), tag("div", right, class_="column"), class_="columns" if left and right else ""
    )
    rest = [panel for panel in (checked(diagnosis.checked), skipped(left_out)) if panel is not None]
    return tag(
        "article",
        _head(diagnosis),
        tag("div", drawn, class_="panel") if drawn is not None else None,
        both if left or right else None,
        boundary_table(diagnosis.boundaries),
        tag("div", rest, class_="panel rests") if rest else None,
        id=anchor,
        class_=f"run k-{diagnosis.kind}",
    )


def _head(diagnosis: Diagnosis) -> Markup:
    size = f"{plural(diagnosis.batches, 'batch')}, {plural(diagnosis.epochs, 'epoch')}"
    aside = [" ", tag("span", diagnosis.aside, class_="aside")] if diagnosis.aside else None
    return tag(
        "header",
        tag("p", tag("b", diagnosis.run), " ", tag("span", size), class_="name"),
        tag("h2", mark(diagnosis.kind, 18, named=True), tag("span", diagnosis.headline, aside)),
        tag("p", prose(diagnosis.subline), class_="subline") if diagnosis.subline else None,
        tag("p", prose(diagnosis.unchecked), class_="note") if diagnosis.unchecked else None,
        [tag("p", prose(problem), class_="problem") for problem in diagnosis.problems],
    )


def _boundary(run: Run, diagnosis: Diagnosis) -> Markup | None:
    """The boundary that shows most, with the parts of its jump if it has one; or where a finding inside an epoch begins."""
    step = _step(run, diagnosis)
    if step is not None:
        kind = diagnosis.findings[0].kind
        heading = tag("h3", "Where it begins ", tag("small", f"30 batches on either side of step {int(run.step[step]):,}"))
        return tag("div", heading, lens_chart.draw_step(run, step, kind), class_="panel")
    boundary = lens_chart.worst(diagnosis)
    if boundary is None:
        return None
    body = lens(run, diagnosis, boundary.index)
    cuts = f"{boundary.placebo_count:,} cuts of the same epochs that are no boundary"
    caption = f"The grey band holds {percent(0.95)} of {cuts}."
    parts = body["waterfall"] if boundary.kind != "none" else []
    said = f"with intervals of {percent(0.95)}" if any(part["low"] is not None for part in parts) else ""
    return tag(
        "div",
        tag("h3", f"Boundary {boundary.index + 1} ", tag("small", f"epoch {boundary.epoch} begins at step {boundary.step:,}")),
        lens_chart.draw(body),
        tag("p", caption, class_="note") if boundary.placebo_count else None,
        [tag("h3", "Where the jump comes from ", tag("small", said) if said else None), waterfall(parts)] if parts else None,
        tag("p", body["waterfall_note"], class_="note") if parts and body["waterfall_note"] else None,
        class_="panel",
    )


def _step(run: Run, diagnosis: Diagnosis) -> int | None:
    """The row where the first finding begins, if it acts at no boundary."""
    best = diagnosis.findings[0] if diagnosis.findings else None
    if best is None or best.boundaries or not best.steps:
        return None
    rows = np.flatnonzero(run.step == best.steps[0])
    return int(rows[0]) if len(rows) else None
