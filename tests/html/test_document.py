"""The report as a reader gets it: one file that stands alone, whatever is in the runs."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.html import document
from tb_losslens.html.document import to_html
from tb_losslens.store.run import Run, RunEvent, Validation
from tests.analysis.test_samples import a_run as samples_run
from tests.plugin.logs import NAMES
from tests.test_report import a_boundary, a_diagnosis
from tests.trainings import train

KINDS = ("fault", "artifact", "unknown", "planned", "benign")


def a_run(name: str = "one", *, epochs: int = 8, length: int = 60, tooth: float = 0.4, seed: int = 0) -> Run:
    rng = np.random.default_rng(seed)
    n = epochs * length
    loss = 1 + np.exp(-np.arange(n) / 100) + tooth * np.tile(np.linspace(0, 1, length), epochs) + rng.normal(0, 0.05, n)
    return replace(Run.from_arrays(loss=loss, lr=np.full(n, 0.1), epoch_length=length), name=name)


def read(text: str) -> ET.Element:
    """The document, which must be well-formed and must ask for nothing outside of itself."""
    assert text.startswith("<!DOCTYPE html>\n<html")
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link", "<img", "<iframe", "src=", "javascript:"):
        assert word not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL), word
    assert "nan" not in re.findall(r"[\w.]+", " ".join(re.findall(r'(?:d|x|y|cx|cy|width|height|x1|x2|y1|y2)="([^"]*)"', text)))
    return ET.fromstring(text.split("\n", 1)[1])


def words(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def classes(element: ET.Element) -> list[str]:
    return [name for one in element.iter() for name in (one.get("class") or "").split()]


def judged(run: Run) -> tuple[Run, Diagnosis]:
    return run, diagnose(run)


def test_each_run_has_its_verdict_on_the_first_screen_and_a_section_that_the_table_leads_to() -> None:
    pairs = [judged(a_run("tooth")), judged(a_run("flat", tooth=0.0))]
    root = read(to_html(pairs, [("old", "")]))
    table = root.find(".//table[@class='runs']")
    assert table is not None
    for run, diagnosis in pairs:
        assert run.name in words(table)
        assert diagnosis.headline in words(table)
    anchors = {one.get("href") for one in table.iter("a")}
    assert anchors == {f"#{one.get('id')}" for one in root.iter("article")}
    assert "Left out, not recorded with LossLens: old." in words(root)


def test_a_section_has_evidence_code_boundaries_band_and_parts() -> None:
    run = a_run("exp/1", epochs=4, length=100)
    root = read(to_html([(run, a_diagnosis())]))
    assert root.find(".//table[@class='runs']") is None  # one run is its own table
    text = words(root)
    order = ["exp/1 400 batches, 4 epochs", "Loss jumps up", "LR raised at the boundary", "likely · 80", "The LR rises tenfold"]
    order += ["the LR goes from 0.01 to 0.1", "nothing found", "Warm up.", "scheduler.step()", "train one epoch at 0.01"]
    order += ["Where the jump comes from", "not explained", "Epoch boundaries", "Checked and fine (1)"]
    order += ["Not checked (1)", "writer.watch(model)"]
    places = [text.find(piece) for piece in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    assert {"timeline", "lens", "waterfall", "boundaries", "band", "mean", "cut"} <= set(classes(root))


def test_the_band_of_a_boundary_is_drawn_and_written() -> None:
    run, diagnosis = judged(a_run())
    root = read(to_html([(run, diagnosis)]))
    table = root.find(".//table[@class='boundaries']")
    assert table is not None
    assert len(list(table.iter("tr"))) == 1 + len(diagnosis.boundaries)
    assert classes(table).count("placebo") == len(diagnosis.boundaries)
    chart = root.find(".//div[@class='chart lens']")
    assert chart is not None
    assert classes(chart).count("placebo") == 1
    assert classes(chart).count("level") == 2
    assert classes(chart).count("dot") == 40


def test_the_bars_stand_where_the_sum_stands() -> None:
    run, diagnosis = judged(a_run())
    root = read(to_html([(run, diagnosis)]))
    chart = root.find(".//div[@class='chart waterfall with']")
    assert chart is not None
    bars = [one for one in chart.iter("rect") if "bar" in (one.get("class") or "")]
    ends = [(float(b.get("x", "").rstrip("%")), float(b.get("width", "").rstrip("%"))) for b in bars]
    assert all(-0.01 <= x <= x + width <= 100.5 for x, width in ends)
    for (x, width), (after, wide) in pairwise(ends[:-1]):
        apart = min(abs(a - b) for a in (x, x + width) for b in (after, after + wide))
        assert apart < 0.03 or width <= 0.26 or wide <= 0.26
    assert "with intervals of 95" in words(root)
    assert classes(chart).count("span") == len(bars)
    assert classes(chart).count("whisker") > len(bars)


@pytest.mark.parametrize("name", [*NAMES, "\x1b[2J\x00", "a\nb", "]]>", "\ud800", "-->", "'\" onload=x"])
def test_names_notes_and_code_cannot_become_markup(name: str) -> None:
    finding = replace(a_diagnosis().findings[0], title=name, text=name, advice=name, fix=name, confirm=name, missing=(name,))
    told = a_diagnosis(run=name, headline=name, subline=name, findings=(finding,), problems=(name,), unchecked=name)
    run = replace(a_run(name, epochs=4, length=100), events=(RunEvent("note", 50, 50, text=name),))
    text = to_html([(run, told), (run, told)], [(name, "")])
    root = ET.fromstring(text.split("\n", 1)[1])
    assert {one.tag for one in root.iter()} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "article", "header", "footer", "div", "figure"),
        *("figcaption", "span", "p", "b", "a", "small", "h1", "h2", "h3", "ul", "li", "dl", "dt", "dd", "pre", "code"),
        *("details", "summary", "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "rect", "circle", "line"),
        "text",
    }
    assert not [key for one in root.iter() for key in one.attrib if key.startswith("on") or key == "style"]
    text.encode()


@pytest.mark.parametrize(
    "run",
    [
        Run("odd"),
        Run.from_arrays(loss=np.full(400, np.nan), epoch_length=100),
        Run.from_arrays(loss=np.full(400, 2.0), epoch_length=100),
        Run.from_arrays(loss=np.zeros(400), epoch_length=100),
        Run.from_arrays(loss=np.array([1.0])),
        Run.from_arrays(loss=np.arange(50.0)),
        Run.from_arrays(loss=np.where(np.arange(400) < 350, 1.0, np.inf), epoch_length=100),
        Run.from_arrays(loss=np.geomspace(1e300, 1e-300, 400), epoch_length=100),
        Run.from_arrays(loss=np.where(np.arange(400) % 10, np.nan, 1.5), epoch_length=100),
        Run.from_arrays(loss=-np.arange(400.0) * 1e250, epoch_length=100),
        Run.from_arrays(loss=np.random.default_rng(0).normal(size=60), epoch_length=3),
        replace(a_run(), events=(RunEvent("validation_end", 60, 60, fields={"value": 1e9, "epoch": 0}),)),
    ],
    ids=["nothing", "nan", "flat", "zero", "one", "one epoch", "inf", "decades", "rare", "huge", "short", "validation"],
)
def test_a_run_of_any_sort(run: Run) -> None:
    root = read(to_html([judged(replace(run, name="odd"))]))
    assert "could not be drawn" not in words(root)
    assert diagnose(run).headline in words(root)


def test_a_real_training_with_losses_that_are_not_finite() -> None:
    run = train(epochs=4, lr=1e6)
    root = read(to_html([judged(run)]))
    assert "could not be drawn" not in words(root)


def test_a_falling_loss_has_a_logarithmic_axis_and_it_is_said() -> None:
    run = Run.from_arrays(loss=np.geomspace(100, 0.01, 800) * np.random.default_rng(1).uniform(0.8, 1.2, 800), epoch_length=100)
    assert "logarithmic axis" in words(read(to_html([judged(run)])))
    assert "logarithmic axis" not in words(read(to_html([judged(a_run())])))


def test_runs_with_a_fault_come_first_and_are_counted() -> None:
    run = a_run(epochs=4, length=100)
    told = [(run, a_diagnosis(run=f"r{place}", kind=kind)) for place, kind in enumerate(reversed(KINDS * 2))]
    root = read(to_html(told))
    kinds = [(one.get("class") or "").split()[1] for one in root.iter("article")]
    assert kinds == [f"k-{kind}" for kind in KINDS for _ in range(2)]
    counts = root.find(".//ul[@class='counts']")
    assert counts is not None
    assert words(counts) == "2 faults2 artifacts of logging2 unexplained2 planned2 expected"


def test_200_runs_are_one_file_of_a_few_megabytes() -> None:
    run, diagnosis = judged(a_run(epochs=20, length=200))
    text = to_html([(run, replace(diagnosis, run=f"run {place}")) for place in range(200)])
    assert len(list(read(text).iter("article"))) == 200
    assert len(text) < 15e6


def test_no_run_at_all() -> None:
    assert "0 runs" in words(read(to_html([], [("a", ""), ("b", "two epochs.")])))


def test_many_boundaries_are_cut_to_the_strongest_and_it_is_said() -> None:
    many = tuple(a_boundary(i, batch=1, z=float((i * 7) % 50), placebo_low=-0.1, placebo_high=0.1) for i in range(50))
    root = read(to_html([(a_run(epochs=4, length=100), a_diagnosis(boundaries=many))]))
    assert "The 12 strongest of 50 boundaries" in words(root)


def test_a_run_that_cannot_be_drawn_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = document.section

    def fail(run: Run, diagnosis: Diagnosis, anchor: str) -> object:
        if run.name == "bad":
            raise RuntimeError("no ink")
        return draw(run, diagnosis, anchor)

    monkeypatch.setattr(document, "section", fail)
    root = read(to_html([judged(a_run("bad")), judged(a_run("good"))]))
    assert "could not be drawn: RuntimeError: no ink" in words(root)
    assert len(list(root.iter("article"))) == 2


def test_the_picture_is_the_same_each_time() -> None:
    run, diagnosis = judged(a_run())
    assert to_html([(run, diagnosis)]) == to_html([(run, diagnosis)])


def styles() -> tuple[dict[str, str], dict[str, str]]:
    """The colours of the light page and of the dark one."""
    css = resources.files("tb_losslens.html").joinpath("style.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark", 1)
    pattern = r"--(\w+): (#[0-9a-f]{3,6});"
    first = dict(re.findall(pattern, light))
    return first, {**first, **dict(re.findall(pattern, dark.split("The colour of a kind")[0]))}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", styles(), ids=["light", "dark"])
def test_contrast_is_aa(colours: dict[str, str]) -> None:
    for ground in ("card", "page", "code"):
        for text in ("ink", "mute"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for kind in KINDS:  # written on cards as pills, drawn everywhere
        assert contrast(colours[kind], colours["card"]) >= 4.5, kind
        assert contrast(colours[kind], colours["page"]) >= 3, kind
    for drawn, ground in (("data", "card"), ("data", "placebo"), ("data", "shade"), ("ink", "placebo")):
        assert contrast(colours[drawn], colours[ground]) >= 3, (drawn, ground)


def test_what_is_known_of_samples_is_a_panel_and_nothing_known_is_none() -> None:
    run, diagnosis = judged(samples_run(hard={5: 3.0, 400: 4.0}))
    root = read(to_html([(run, diagnosis)]))
    assert diagnosis.samples is not None
    for sentence in diagnosis.samples.text:
        assert " ".join(sentence.split()) in words(root)
    table = root.find(".//table[@class='boundaries of-samples']")
    assert table is not None
    named = [next(iter(row)).text for row in table.iter("tr")]
    assert named == ["sample", "400", "5"]
    assert "of-samples" not in classes(read(to_html([judged(a_run())])))


def test_every_validation_and_event_is_somewhere() -> None:
    fields = {"value": 1.2, "epoch": 0}
    events = (RunEvent("validation_end", 60, 60, fields=fields), RunEvent("config_change", 120, 120, text="dropout 0 to 0.5"))
    run = replace(a_run(), events=events)
    assert run.validations == (Validation(60, 60, 0, 1.2, fields),)
    root = read(to_html([judged(run)]))
    assert classes(root).count("validation") == 2  # one in the chart, one in its legend
    assert "config change at step 120: dropout 0 to 0.5" in words(root)
    assert not any(math.isnan(float(one.get("cy", "0"))) for one in root.iter("circle"))
