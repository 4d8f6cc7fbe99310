"""`python -m demo.serve` prints one address that answers, and leaves nothing behind on Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from demo.run import train
from demo.training import train_all

ROOT = Path(__file__).parents[2]


def serve(logdir: Path) -> subprocess.Popen[str]:
    # a shell ignores interrupts for what it runs in the background, and so would everything below it
    heeding = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", heeding + "runpy.run_module('demo.serve', run_name='__main__')", "--logdir", str(logdir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logdir with one run."""
    logdir = tmp_path_factory.mktemp("served")
    assert [done.error for done in train_all(train, ["adam_at_0_1"], logdir)] == [""]
    return logdir


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_prints_one_address_and_stops_cleanly(logdir: Path, stop: signal.Signals):
    server = serve(logdir)
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        url, _, state = address.partition("#")
        assert url.startswith("http://127.0.0.1:"), server.communicate(timeout=20)
        assert state == "losslens&p.losslens.run=adam_at_0_1"
        with urllib.request.urlopen(f"{url}data/plugin/losslens/runs", timeout=10) as response:
            assert [run["run"] for run in json.load(response)["runs"]] == ["adam_at_0_1"]
    finally:
        server.send_signal(stop)
        out, err = server.communicate(timeout=20)
    assert (server.returncode, out, err) == (0, "", "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=2)


def test_an_empty_logdir_is_refused_with_what_to_do(tmp_path: Path):
    server = serve(tmp_path)
    out, err = server.communicate(timeout=30)
    assert server.returncode == 2
    assert out == ""
    assert "demo.run" in err
