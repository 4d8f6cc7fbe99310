"""A report that can be pasted: complete, and unable to break out of its markdown."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Diagnosis, Evidence, Finding
from tb_losslens.analysis.markdown import escape, to_markdown
from tests.trainings import train


def test_a_real_run_says_everything_once() -> None:
    diagnosis = diagnose(train(data="wide", model="deep", optimizer="adam", lr=1e-3, epochs=12))
    text = diagnosis.to_markdown()
    assert text.startswith(f"## run: {escape(diagnosis.headline)}\n")
    for finding in diagnosis.findings:
        assert escape(finding.title) in text
        assert all(escape(line) in text for line in finding.evidence)
    for item in diagnosis.checked:
        assert escape(item.text) in text
    assert text.count("\n| ") == 1 + len(diagnosis.boundaries)


def test_only_the_largest_boundaries_are_listed() -> None:
    rng = np.random.default_rng(0)
    from tb_losslens.store.run import Run

    diagnosis = diagnose(Run.from_arrays(loss=rng.random(2000), epoch_length=20))
    text = to_markdown(diagnosis, rows=5)
    assert "the 5 largest of 99" in text
    largest = sorted(diagnosis.boundaries, key=lambda b: -abs(b.z))[:5]
    assert all(f"| {b.index + 1} | {b.step:,} |" in text for b in largest)


def test_hostile_names_stay_text() -> None:
    finding = Finding("x", "fault", "proved", "<b>t</b>", "a | b", evidence=(Evidence("![x](http://y)"),), fix="```\nrm")
    diagnosis = Diagnosis("<script>|`x`", "v", "fault", headline="h\n# forged", findings=(finding,), problems=("a\n- b",))
    text = diagnosis.to_markdown()
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\n# forged" not in text
    assert "![x](" not in text
    assert "\n- b" not in text
    assert "\x1b" not in Diagnosis("a\x1b[2Jb", "v", "fault", headline="h").to_markdown()
    assert "````python\n```\nrm\n````" in text  # the fence is longer than any in the code


def test_an_empty_diagnosis_has_a_title() -> None:
    assert Diagnosis("run", "v", "benign", headline="No batch recorded").to_markdown().startswith("## run: No batch recorded")
