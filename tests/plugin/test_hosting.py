"""The ways in which people start TensorBoard: every one of them shows the same run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin import logs
from tests.tensorboard_process import tensorboard

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("hosted")
    logs.write_run(root / "a", logs.losses(4, 50), 50)
    logs.write_run(root / "a" / "rank1", logs.losses(4, 50), 50)
    logs.write_plain(root / "a" / "Loss_train")
    return root


def check(running, name, batches=200):
    running.wait_for_runs([name])
    running.wait_until(lambda: running.data("timeline", run=name)["batches"] == batches)
    assert len(running.data("boundaries", run=name)["step"]) == 3


def test_behind_a_path_prefix_and_an_experiment_address(logdir):
    with tensorboard(logdir, "--path_prefix", "/some/prefix") as running:
        assert running.base.endswith("/some/prefix/")
        check(running, "a")
        module = running.get("data/plugins_listing").json()["losslens"]["loading_mechanism"]["module_path"]
        assert module.startswith("/some/prefix/")
        same = running.get("experiment/any/data/plugin/losslens/boundaries", run="a")
        assert same.json() == running.data("boundaries", run="a")
        assert [row["run"] for row in running.data("runs")["runs"]] == ["a"]  # no ranks, no add_scalars directories


def test_several_directories_by_name(logdir):
    spec = f"first:{logdir}/a,second:{logdir}"
    with tensorboard(None, "--logdir_spec", spec, load_fast=False) as running:  # the data server takes one directory only
        check(running, "first/.")
        check(running, "second/a")
        assert [row["run"] for row in running.data("runs")["runs"]] == ["first/.", "second/a"]


def test_the_directory_of_one_run(logdir):
    with tensorboard(logdir / "a", load_fast=False) as running:
        check(running, ".")


def test_batches_of_a_killed_training_that_reached_no_event_file(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from tests.plugin import logs
with logs.session(Path({str(tmp_path)!r}) / "killed") as (recorder, file):
    for step in range(150):
        recorder.put({{"step": step, "loss": 1.0, "epoch": step // 50, "index": step % 50}})
        if step == 99:
            recorder.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    assert done.returncode == -9
    with tensorboard(tmp_path) as running:
        running.wait_for_runs(["killed"])
        running.wait_until(lambda: running.data("timeline", run="killed")["batches"] == 150)
