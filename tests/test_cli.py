"""The command as a user runs it: on recorded logs, by its exit code and what it prints."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tb_losslens import cli, diagnose, load_runs
from tb_losslens.cli import main
from tb_losslens.store.plain import plain_run
from tb_losslens.store.run import Run
from tests.plain_logs import losses, write
from tests.plugin import logs


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    logs.write_run(root / "tooth", logs.losses(10, 60), 60)
    logs.write_run(root / "flat", logs.losses(10, 60, tooth=0.0), 60)
    logs.write_plain(root / "old")
    return root


def run_cli(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_text_has_each_run_with_the_verdict_of_the_library(logdir, capsys):
    code, out, err = run_cli(capsys, "report", logdir)
    assert (code, err) == (0, "")
    for name, run in load_runs(logdir).items():
        assert name in out
        if not run.plain:
            assert diagnose(run).verdict[:60] in " ".join(out.split())
    assert out.index("flat") < out.index("tooth")


def test_several_runs_begin_with_a_table_and_many_are_told_in_it_alone(logdir, tmp_path, capsys):
    first, second = (line.split() for line in run_cli(capsys, "report", logdir)[1].splitlines()[1:3])
    assert [first[1], second[1]] == ["flat", "tooth"]
    for k in range(13):
        logs.write_run(tmp_path / f"run {k:02}", logs.losses(3, 20), 20)
    out = run_cli(capsys, "report", tmp_path)[1]
    rows = [line.split() for line in out.splitlines() if "  run " in line and "batches" not in line]
    assert [row[2] for row in rows] == [f"{k:02}" for k in range(13)]
    assert "`--run NAME` prints one of them, `--full` all." in out
    assert "not checked" not in out
    assert run_cli(capsys, "report", tmp_path, "--full")[1].count("not checked:") == 13
    assert "run 03   60 batches" in run_cli(capsys, "report", tmp_path, "--run", "run 03")[1]


def test_json_is_what_the_library_says(logdir, capsys):
    code, out, _ = run_cli(capsys, "report", logdir, "--format", "json")
    report = json.loads(out)
    assert code == 0
    assert report["schema"] == 1
    assert [run["run"] for run in report["runs"]] == ["flat", "tooth"]
    runs = load_runs(logdir)
    for told in report["runs"]:
        assert told == json.loads(json.dumps(diagnose(runs[told["run"]]).to_dict()))


def test_a_run_that_was_not_recorded_is_named_in_one_line(logdir, capsys):
    text = run_cli(capsys, "report", logdir)[1]
    assert [line for line in text.splitlines() if "not recorded with" in line] == [
        "Left out, not recorded with LossLens: old. LossLensWriter in place of SummaryWriter records a run."
    ]
    assert json.loads(run_cli(capsys, "report", logdir, "--format", "json")[1])["unrecorded"] == ["old"]
    assert "not recorded with LossLens: `old`." in run_cli(capsys, "report", logdir, "--format", "markdown")[1].splitlines()[-1]
    for form in ("text", "json", "markdown"):
        assert "old" not in run_cli(capsys, "report", logdir, "--run", "flat", "--format", form)[1]


def test_a_run_without_a_recording_is_told_from_one_that_is_not_there(logdir, capsys):
    code, _, err = run_cli(capsys, "report", logdir, "--run", "old")
    assert code == 2
    assert "run 'old'" in err
    assert "was not recorded with LossLens" in err


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda at: None, "does not exist"),
        (lambda at: at.write_text("x"), "is not a directory"),
        (lambda at: at.mkdir(), "no event files in"),
        (logs.write_plain, "the only run in .* was not recorded with LossLens: use LossLensWriter"),
        (lambda at: [logs.write_plain(at / name) for name in "abc"], "none of the 3 runs in .* was recorded with LossLens"),
    ],
)
def test_what_there_is_in_place_of_a_recording(tmp_path, capsys, make, sentence):
    make(tmp_path / "at")
    code, _, err = run_cli(capsys, "report", tmp_path / "at")
    assert code == 2
    assert re.search(sentence, err)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two plain logs with epochs, one that names no epochs, and a recording."""
    root = tmp_path_factory.mktemp("plain")
    for name, drop in (("stairs", 0.1), ("even", 0.0)):
        write(root / name, losses(20, 50, drop=drop, gain=0.5), 50, epoch=lambda step: step // 50)
    write(root / "bare", losses(4, 50, seed=5), 50)
    logs.write_run(root / "recorded", logs.losses(10, 60, tooth=0.0), 60)
    return root


def test_a_plain_log_is_judged_and_said_to_be_one(plain, capsys):
    code, out, err = run_cli(capsys, "report", plain)
    assert (code, err) == (0, "")
    told = " ".join(out.split())
    assert "stairs 1,000 points, 20 epochs" in told
    assert "of 19 epoch boundaries, median" in told
    assert "It is a plain log, not recorded with LossLens: `train/loss`; epochs are those of `epoch`." in told
    assert "bare: It is unknown where epochs begin (no scalar tells it): give `--batches-per-epoch N`" in told
    assert told.index("recorded 600 batches") < told.index("even 1,000 points")


def test_json_and_markdown_of_plain_logs(plain, capsys):
    code, out, _ = run_cli(capsys, "report", plain, "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert [(run["run"], run["plain"]) for run in told["runs"]] == [("recorded", False), ("even", True), ("stairs", True)]
    assert told["unrecorded"] == ["bare"]
    assert [one["run"] for one in told["left_out"]] == ["bare"]
    assert "--batches-per-epoch" in told["left_out"][0]["why"]
    assert told["runs"][2] == json.loads(json.dumps(diagnose(plain_run(plain / "stairs")).to_dict()))
    out = run_cli(capsys, "report", plain, "--format", "markdown", "--run", "stairs")[1]
    assert out.strip() == diagnose(plain_run(plain / "stairs")).to_markdown().strip()


def test_what_a_plain_log_lacks_can_be_given(plain, capsys):
    code, out, err = run_cli(capsys, "report", plain, "--run", "bare")
    assert (code, out) == (2, "")
    assert "give `--batches-per-epoch N`, counted in the steps of `train/loss`" in err
    code, out, _ = run_cli(capsys, "report", plain, "--run", "bare", "--batches-per-epoch", "50")
    assert code == 0
    assert "4 epochs" in out
    code, out, err = run_cli(capsys, "report", plain, "--run", "bare", "--loss-tag", "nope")
    assert code == 2
    assert "it has no scalar `nope` (`--loss-tag TAG` chooses one of `train/loss`)" in err


def test_a_plain_log_never_fails_on_a_fault(plain, capsys):
    for name in ("stairs", "even"):
        assert run_cli(capsys, "report", plain, "--run", name, "--fail-on", "fault")[0] == 0


@pytest.mark.parametrize("number", ["0", "-3", "many"])
def test_an_epoch_has_one_step_at_least(plain, capsys, number):
    with pytest.raises(SystemExit) as stop:
        main(["report", str(plain), f"--batches-per-epoch={number}"])
    assert stop.value.code == 2
    assert "--batches-per-epoch" in capsys.readouterr().err


def test_markdown_and_one_run_only(logdir, capsys):
    code, out, _ = run_cli(capsys, "report", logdir, "--format", "markdown", "--run", "tooth")
    assert code == 0
    assert out.strip() == diagnose(load_runs(logdir)["tooth"]).to_markdown().strip()
    assert "flat" not in out


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html"])
def test_a_report_goes_to_a_file_as_it_would_to_the_terminal(logdir, tmp_path, capsys, form):
    shown = run_cli(capsys, "report", logdir, "--format", form)[1]
    code, out, err = run_cli(capsys, "report", logdir, "--format", form, "--output", tmp_path / "report")
    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "report").read_bytes().decode() == shown


def test_a_file_that_cannot_be_written_is_code_2_and_said(logdir, tmp_path, capsys):
    code, out, err = run_cli(capsys, "report", logdir, "--output", tmp_path / "no" / "report")
    assert (code, out) == (2, "")
    assert err.startswith("losslens: cannot write ")
    assert len(err.splitlines()) == 1


def test_html_has_each_run_and_names_those_without_a_recording(logdir, capsys):
    code, out, _ = run_cli(capsys, "report", logdir, "--format", "html")
    assert code == 0
    assert out.startswith("<!DOCTYPE html>")
    assert out.count("<article") == 2
    for name in ("flat", "tooth", "recorded with LossLens: old"):
        assert name in out
    assert run_cli(capsys, "report", logdir, "--format", "html", "--run", "flat")[1].count("<article") == 1


def test_a_log_directory_that_is_the_run_goes_by_its_name(logdir, capsys):
    for form in ("text", "markdown"):
        code, out, _ = run_cli(capsys, "report", logdir / "flat", "--format", form)
        assert code == 0
        assert out.lstrip("# ").startswith("flat")
    _, out, _ = run_cli(capsys, "report", logdir / "flat", "--format", "json")
    assert json.loads(out)["runs"][0]["run"] == "."


def test_fail_on_gives_code_1_for_a_fault_and_0_for_a_healthy_run(tmp_path, capsys):
    rng = np.random.default_rng(0)
    order = rng.normal(0, 0.5, 60)  # the same batches in the same order each epoch, proved by the hash
    with logs.session(tmp_path / "repeated") as (recorder, _):
        for step in range(600):
            epoch, index = divmod(step, 60)
            loss = 2.0 + order[index] + rng.normal(0, 0.01)
            recorder.put({"step": step, "loss": loss, "epoch": epoch, "index": index}, ids=np.arange(8) + 8 * index)
            if index == 59:
                fields = {"epoch": epoch, "order_hash": "same", "set_hash": "all", "batches": 60, "complete": True}
                recorder.record("epoch_end", step=step, fields=fields)
    found = {finding.kind for finding in diagnose(load_runs(tmp_path)["repeated"]).findings}
    assert "fault" in found
    assert run_cli(capsys, "report", tmp_path, "--fail-on", "fault")[0] == 1
    assert run_cli(capsys, "report", tmp_path)[0] == 0


def test_a_healthy_run_does_not_fail(logdir, capsys):
    assert run_cli(capsys, "report", logdir, "--run", "flat", "--fail-on", "fault")[0] == 0


@pytest.mark.parametrize("make", ["missing", "file", "empty", "plain"])
def test_what_cannot_be_read_is_code_2_and_one_sentence(tmp_path, capsys, make):
    target = tmp_path / make
    if make == "file":
        target.write_text("no events")
    elif make == "empty":
        target.mkdir()
    elif make == "plain":
        logs.write_plain(target)
    code, out, err = run_cli(capsys, "report", target)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(target) in err


def test_an_unknown_run_is_code_2_and_names_the_others(logdir, capsys):
    code, _, err = run_cli(capsys, "report", logdir, "--run", "nope")
    assert code == 2
    assert "'flat', 'tooth'" in err


@pytest.mark.parametrize("arguments", [[], ["report"], ["report", "x", "--format", "pdf"], ["report", "x", "--fail-on", "all"]])
def test_wrong_arguments_are_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_gets_the_report(logdir, encoding):
    command = [sys.executable, "-m", "tb_losslens.cli", "report", str(logdir)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=True)
    assert b"tooth" in done.stdout
    assert done.stderr == b""


def test_a_reader_that_has_seen_enough_is_no_error(logdir):
    command = f"{sys.executable} -m tb_losslens.cli report {logdir} --format json | head -1"
    shell = ["bash", "-c", f"set -o pipefail; {command}"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_the_demo_needs_a_checkout_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tb_losslens.cli.__file__", str(tmp_path / "site-packages" / "tb_losslens" / "cli.py"))
    code, _, err = run_cli(capsys, "demo")
    assert code == 2
    assert "make demo" in err


def test_the_demo_trains_and_then_serves(tmp_path, capsys, monkeypatch):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "__init__.py").touch()  # else the one of PYTHONPATH comes first, and trains for minutes
    for name in ("run", "serve"):
        (tmp_path / "demo" / f"{name}.py").write_text(f"import sys; print('{name}', *sys.argv[1:], file=open('log', 'a'))")
    monkeypatch.setattr("tb_losslens.cli.__file__", str(tmp_path / "tb_losslens" / "cli.py"))
    assert run_cli(capsys, "demo", "--logdir", tmp_path / "runs")[0] == 0
    told = (tmp_path / "log").read_text().splitlines()
    assert told == [f"run --logdir {tmp_path}/runs", f"serve --logdir {tmp_path}/runs"]


def test_a_run_that_cannot_be_judged_does_not_take_the_others_along():
    run = Run.from_arrays("odd", loss=[1.0, 2.0], epoch=np.array([object(), object()]))
    judged = cli._judged(run)
    assert (judged.run, judged.kind) == ("odd", "unknown")
    assert "could not be diagnosed" in judged.verdict
