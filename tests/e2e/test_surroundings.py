"""Where the page is read, and a server that fails: in a real browser, on a real TensorBoard."""

from __future__ import annotations

from tests.e2e import failing
from tests.e2e.browser import scenario
from tests.e2e.conftest import TRAINED
from tests.e2e.proxy import stripping
from tests.plugin import logs
from tests.tensorboard_process import tensorboard


def test_a_proxy_may_strip_the_path(base):
    with stripping(base) as address:
        scenario("marks_open_the_lens", address, run=TRAINED)


def test_a_notebook_frames_it(base):
    with stripping(base) as address:
        scenario("a_notebook_frames_it", address, run=TRAINED)


def test_twice_as_large_it_fits(base):
    scenario("twice_as_large_it_fits", base, run=TRAINED, views=["boundary", "epochs", "batches", "layers", "compare"])


def test_it_can_be_printed(base):
    scenario("it_can_be_printed", base, run=TRAINED)


def test_a_failure_is_said_and_can_be_tried_again(tmp_path, monkeypatch):
    logs.write_run(tmp_path / "logs" / "run", logs.losses(5, 60), 60)
    broken = tmp_path / "broken"
    broken.touch()
    monkeypatch.setenv(failing.FLAG, str(broken))
    with tensorboard(tmp_path / "logs", module="tests.e2e.failing") as server:
        server.wait_for_runs(["run"])
        scenario("a_failure_is_said_and_can_be_tried_again", server.base, run="run", mend=str(broken))
