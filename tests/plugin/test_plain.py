"""Plain logs in the tab, served by the real TensorBoard from what torch's SummaryWriter wrote."""

from __future__ import annotations

import json

import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.errors import LossLensError
from tb_losslens.plugin.plain import WithPlainLogs
from tb_losslens.store.plain import plain_run
from tests.plain_logs import losses, summary_writer, write
from tests.plugin import logs
from tests.tensorboard_process import tensorboard


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("plain")
    write(root / "stairs", losses(40, 50, drop=0.06, gain=0.5), 50, epoch=lambda step: step // 50, held_out="val/loss")
    write(root / "bare", losses(4, 50), 50)
    logs.write_run(root / "recorded", logs.losses(10, 60), 60)
    write(root / "recorded" / "part", losses(4, 50), 50, epoch=lambda step: step // 50)
    return root


@pytest.fixture(scope="module")
def server(logdir):
    with tensorboard(logdir) as running:
        running.wait_until(lambda: {row["run"] for row in running.data("runs")["runs"]} >= {"stairs", "bare", "recorded"})
        running.wait_until(lambda: all(row["kind"] != "pending" for row in running.data("runs")["runs"]))
        yield running


def test_a_plain_log_is_judged_from_all_of_its_points(server, logdir):
    rows = {row["run"]: row for row in server.data("runs")["runs"]}
    assert sorted(rows) == ["bare", "recorded", "stairs"]  # what lies below a recording belongs to it
    row, told = rows["stairs"], diagnose(plain_run(logdir / "stairs"))
    assert (row["plain"], row["batches"], row["epochs"]) == (False, 2000, 40)  # TensorBoard keeps 1,000 points
    assert row["verdict"] == told.verdict
    assert "It is a plain log, not recorded with LossLens" in row["verdict"]
    assert server.data("diagnosis", run="stairs") == json.loads(json.dumps(told.to_dict()))
    assert len(server.data("boundaries", run="stairs")["step"]) == 39


def test_its_timeline_lens_and_overlay(server):
    body = server.data("timeline", run="stairs")
    assert body["batches"] == 2000
    assert len(body["validation"]["value"]) == 40
    assert body["epochs"]["from"] == list(range(0, 2000, 50))
    lens = server.data("lens", run="stairs", boundary=3)
    assert lens["boundary"]["step"] == 200
    assert len(server.data("overlay", run="stairs", points=50)["epoch"]) == 40
    assert server.data("scalars", run="stairs") == {"tags": ["epoch", "train/loss", "val/loss"]}
    assert "plain log" in server.data("report", run="stairs")["markdown"]


def test_a_log_whose_names_do_not_tell_epochs_has_scalars_only(server):
    row = next(row for row in server.data("runs")["runs"] if row["run"] == "bare")
    assert (row["plain"], row["kind"]) == (True, "plain")
    assert server.ask("diagnosis", run="bare").code == 404


class NoRecording:
    def tokens(self):
        return {}

    def read(self, name):
        raise LossLensError(name)

    def forget(self, name):
        pass


def test_a_log_that_grows_has_another_token(tmp_path):
    source = WithPlainLogs(NoRecording(), lambda: {"a": ["loss", "epoch"], "../out": ["loss", "epoch"]}, str(tmp_path))
    write(tmp_path / "a", losses(3, 20), 20, tag="loss", epoch=lambda step: step // 20)
    first = source.tokens()
    assert list(first) == ["a"]  # nothing outside of the log directory is read
    assert source.tokens() == first
    with summary_writer(tmp_path / "a") as writer:
        writer.add_scalar("loss", 1.0, 60)
    assert source.tokens() != first
    assert len(source.read("a")) == 61
    source.forget("a")
    with pytest.raises(LossLensError, match="no run 'b'"):
        source.read("b")


def test_a_directory_that_is_not_on_this_machine_has_recordings_only(tmp_path):
    source = WithPlainLogs(NoRecording(), lambda: {"a": ["loss", "epoch"]}, "")
    assert source.tokens() == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "losslens.1.tail").touch()  # a recording has begun there
    assert WithPlainLogs(NoRecording(), lambda: {"a": ["loss", "epoch"]}, str(tmp_path)).tokens() == {}
