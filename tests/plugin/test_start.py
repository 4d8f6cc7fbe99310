import ast
from pathlib import Path

import pytest

from tb_losslens.plugin.start import code, hint


def directory(text):
    """What the pasted lines would hand to LossLensWriter."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    (made,) = [call for call in calls if getattr(call.func, "id", "") == "LossLensWriter"]
    return ast.literal_eval(made.args[0])


@pytest.mark.parametrize("logdir", ["/logs", '/with space/it\'s "quoted"', "/ünï/☃", "/back\\slash"])
def test_what_is_pasted_records_below_the_log_directory(logdir):
    assert directory(code(logdir, ())) == f"{logdir}/exp1"


def test_a_relative_log_directory_is_right_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert directory(code("runs", ())) == str(tmp_path / "runs" / "exp1")
    assert directory(code("~/runs", ())) == str(Path.home() / "runs" / "exp1")


def test_no_run_that_is_there_is_written_over():
    assert directory(code("/logs", {"exp1", "exp2", "old"})) == "/logs/exp3"
    assert directory(code("/logs", {"exp2"})) == "/logs/exp1"


@pytest.mark.parametrize("logdir", ["", "gs://bucket/logs"])
def test_where_the_directory_is_not_on_this_machine_the_line_says_what_it_must_be(logdir):
    text = code(logdir, ())
    assert directory(text) == "runs/exp1"
    assert "below that of TensorBoard" in text


def test_the_lines_run(tmp_path):
    pytest.importorskip("torch")
    names = {"train_loader": [1, 2, 3]}
    exec(code(str(tmp_path), ()), names)
    assert list(names["train_loader"]) == [1, 2, 3]
    names["writer"].close()
    assert (tmp_path / "exp1").is_dir()


def test_the_hint_is_a_sentence_and_the_lines_after_it():
    sentence, *lines = hint(code("/logs", ())).split("\n")
    assert sentence.endswith(":")
    assert "\n".join(lines) == code("/logs", ())
