from pathlib import Path

import pytest

from tb_losslens.store.label import run_label


@pytest.mark.parametrize(
    ("name", "logdir", "said"),
    [
        ("exp1", "/logs", "exp1"),
        ("a/b", "", "a/b"),
        (".", "/logs/exp1", "exp1"),
        (".", "/logs/exp1/", "exp1"),
        (".", "/logs/exp1/../exp2", "exp2"),
        (".", "gs://bucket/logs/exp1", "exp1"),
        (".", "", "this log directory"),
        (".", "/", "this log directory"),
        ("mine/.", "", "mine"),
        ("v1.", "/logs", "v1."),
    ],
)
def test_a_run_is_called_what_a_reader_knows_it_by(name, logdir, said):
    assert run_label(name, logdir) == said


def test_a_relative_log_directory_is_named_by_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_label(".", ".") == tmp_path.name
    assert run_label(".", Path("runs")) == "runs"
