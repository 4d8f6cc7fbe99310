import io
import json
import math
import textwrap
from dataclasses import replace

import pytest
from rich.console import Console

from tb_losslens.analysis.finding import Boundary, Checked, Diagnosis, Evidence, Finding, Pooled, Skipped
from tb_losslens.analysis.samples import Samples
from tb_losslens.report import print_runs, print_text, to_json, to_markdown


def a_boundary(index, **more):
    where = {"batch": 100 * (index + 1), "step": 1000 * (index + 1), "epoch": index + 1, "m": 5}
    what = {"before": 0.5, "after": 0.8, "jump": 0.3, "z": float(index), "shape": "step_up"}
    return Boundary(index, **{**where, **what, "kind": "fault", "cause": "lr_increase", **more})


def a_diagnosis(**more):
    finding = Finding(
        "lr_increase",
        "fault",
        "likely",
        "LR raised at the boundary",
        "The LR rises tenfold at batch 100.",
        score=0.9,
        boundaries=(0,),
        steps=(1000,),
        share=0.8,
        evidence=(Evidence("the LR goes from 0.01 to 0.1", "lr", (99, 101)),),
        advice="Warm up.",
        fix="scheduler.step()  # once an epoch",
        confirm="train one epoch at 0.01",
    )
    base = {
        "run": "exp/1",
        "verdict": "Loss jumps up at 3 of 3 epoch boundaries. Fault, likely: LR.",
        "kind": "fault",
        "headline": "Loss jumps up",
        "boundaries": tuple(a_boundary(i) for i in range(3)),
        "pooled": Pooled(median=0.3, z=5.0, p=0.001),
        "findings": (finding,),
        "checked": (Checked("log_overlap", "steps only grow"),),
        "skipped": (Skipped("input_shift", "inputs were not recorded", "writer.watch(model)"),),
        "batches": 400,
        "epochs": 4,
    }
    return Diagnosis(**{**base, **more})


def printed(diagnosis, width=110, **more):
    out = io.StringIO()
    print_text(diagnosis, Console(file=out, width=width, highlight=False), **more)
    return out.getvalue()


def test_the_verdict_comes_first_then_evidence_then_boundaries():
    text = printed(a_diagnosis())
    order = [
        "exp/1   400 batches, 4 epochs",
        "FAULT",
        "Loss jumps up at 3 of 3",
        "LR raised at the boundary",
        "80% of the jump",
        "The LR rises tenfold",
        "the LR goes from 0.01 to 0.1",
        "nothing found",
        "Warm up.",
        "scheduler.step()  # once an epoch",
        "train one epoch at 0.01",
        "epoch   step",
        "3,000",
        "checked and fine: log_overlap",
        "input_shift: inputs were not recorded  ->  writer.watch(model)",
    ]
    positions = [text.find(piece) for piece in order]
    assert -1 not in positions, order[positions.index(-1)]
    assert positions == sorted(positions)


def test_a_run_of_a_few_findings_fits_one_screen():
    assert len(printed(a_diagnosis()).splitlines()) <= 40


def a_crowd():
    """Six findings, five of them with nine lines of evidence, forty causes that are fine, and ten that were not checked."""
    finding = a_diagnosis().findings[0]
    many = tuple(Evidence(f"number {i} of the first" if i else "the LR goes from 0.01 to 0.1") for i in range(9))
    found = [replace(finding, title=f"Finding {i}", text=f"What {i} says.", evidence=many) for i in range(5)]
    found.append(replace(finding, title="Finding 5", kind="benign", text="What 5 says.", advice="Nothing at all."))
    return a_diagnosis(
        findings=tuple(found),
        boundaries=tuple(a_boundary(i) for i in range(40)),
        checked=tuple(Checked(f"cause_{i}", "fine") for i in range(40)),
        skipped=tuple(Skipped(f"other_{i}", f"reason {i}", "") for i in range(10)),
        samples=Samples(found={"never_seen": {"count": 0}, "high": {"samples": [3]}}, text=("All were seen.", "3 stays high.")),
    )


def test_a_crowded_run_fits_one_screen_and_says_how_to_see_the_rest():
    text = printed(a_crowd())
    assert len(text.splitlines()) <= 56
    assert text.count("number 4 of the first") == 1
    assert "number 5 of the first" not in text
    assert "and 4 more: --full" in text
    for i in range(4):
        assert f"What {i} says." in text
    assert "What 4 says." not in text
    assert "5. ▲ Finding 4   lr_increase: fault, likely" in text
    assert "cause_8" not in text
    assert "and 32 more: --full" in text
    assert "other_3" not in text
    assert "and 7 causes more: --full" in text
    assert "3 stays high." in text
    assert "All were seen." not in text


def test_the_full_report_leaves_nothing_out():
    text = printed(a_crowd(), full=True)
    assert text.count("number 8 of the first") == 5
    assert "What 4 says." in text
    assert "Nothing at all." in text
    assert "cause_39" in text
    assert "other_9" in text
    assert "All were seen." in text
    assert "--full" not in text


def test_a_set_of_runs_is_a_table():
    calm = Diagnosis("[b]b[/b]", "No jump", "benign", headline="No jump beyond noise", batches=1200, epochs=3)
    out = io.StringIO()
    print_runs([a_diagnosis(short="jumps up 3 of 3"), calm], Console(file=out, width=110, highlight=False))
    _, first, second = (line.split() for line in out.getvalue().splitlines())
    assert first == ["▲", "exp/1", "fault", "400", "4", "jumps", "up", "3", "of", "3"]
    assert second == ["●", "[b]b[/b]", "benign", "1,200", "3", "No", "jump", "beyond", "noise"]
    table = to_markdown([a_diagnosis(short="jumps | up"), calm]).split("\n\n")[0].splitlines()
    assert table[2] == r"| exp/1 | fault | 400 | 4 | jumps \| up |"
    assert "| run |" not in to_markdown([calm])


def test_many_boundaries_are_cut_to_the_strongest_and_it_is_said():
    many = tuple(a_boundary(i, z=float((i * 7) % 50)) for i in range(50))
    text = printed(a_diagnosis(boundaries=many), boundaries=10)
    assert "the 10 strongest of 50" in text
    rows = [line.split() for line in text.splitlines() if line.endswith("lr_increase")]
    assert len(rows) == 10
    assert all(float(row[6]) >= 40 for row in rows)
    epochs = [int(row[1]) for row in rows]
    assert epochs == sorted(epochs)


def test_a_healthy_run_and_a_run_without_boundaries():
    calm = (a_boundary(0, kind="none", cause=""),)
    quiet = a_diagnosis(kind="benign", verdict="No jump beyond noise at 3 boundaries", findings=(), boundaries=calm)
    assert "within noise" in printed(quiet)
    short = printed(Diagnosis("one", "One epoch, no boundary", "benign", batches=1, epochs=1))
    assert "1 batch, 1 epoch\n" in short
    assert "z" not in short.split()


def test_what_a_plain_log_does_not_show_is_said_once():
    recorded = a_diagnosis(unchecked="Not checked: all of it.")
    assert recorded.skipped
    for shown in (printed, Diagnosis.to_markdown):
        assert "not checked" in shown(recorded).lower().replace("not checked: all of it", "")
        assert "not checked" not in shown(replace(recorded, plain=True)).lower().replace("not checked: all of it", "")


def test_problems_are_said():
    problem = "3 chunks are corrupt, 768 batches are lost"
    assert f"! {problem}" in printed(a_diagnosis(problems=(problem,)))


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "[bold]x[/bold]", "ü/☃/'\"", "</pre><script>", "\x9b31m", "a\rb", "a\n2. fault"])
def test_a_name_cannot_steer_the_terminal_or_the_markup(name):
    text = printed(Diagnosis(name, f"verdict of {name}", "unknown", problems=(name,)))
    assert not [c for c in text if ord(c) < 32 and c != "\n"]
    assert "\x9b" not in text
    assert "\n2. fault" not in text
    if name.isprintable():
        assert text.count(name) == 3


def test_json_is_strict_and_has_the_keys_of_the_library():
    diagnosis = a_diagnosis(boundaries=(a_boundary(0, jump=math.nan, z=math.inf),), pooled=Pooled(p=math.nan))

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    report = json.loads(to_json([diagnosis, a_diagnosis()]), parse_constant=refuse)
    assert report["schema"] == 1
    assert [set(run) for run in report["runs"]] == [set(diagnosis.to_dict())] * 2
    assert report["runs"][0]["boundaries"][0]["jump"] is None
    assert report["runs"][0]["pooled"]["p"] is None
    assert report["runs"][1] == json.loads(json.dumps(a_diagnosis().to_dict()))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_code_is_printed_whole_at_any_width_and_runs_when_it_is_pasted(width):
    code = (
        "import math\n\n"
        f"values = {list(range(100, 140))}     # a long line, with a comment that goes on for some while after its code\n"
        "for value in values:\n"
        "    total = total + math.sqrt(value * value) if 'total' in globals() else math.sqrt(value * value)"
    )
    finding = replace(a_diagnosis().findings[0], fix=code)
    lines = printed(a_diagnosis(findings=(finding,)), width=width).split("\n")
    first = lines.index("   fix") + 1
    pasted = textwrap.dedent("\n".join(lines[first : first + len(code.split("\n"))]))
    assert pasted == code
    seen: dict[str, float] = {}
    exec(pasted, seen)
    assert seen["total"] == sum(range(100, 140))
    assert lines[first + len(code.split("\n"))].strip().startswith("confirm")
