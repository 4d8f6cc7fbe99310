"""`pip install .` gives a working tab: a wheel in an empty environment, a real TensorBoard, the page's files over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from tb_losslens.record import native

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT)], check=True)
    return next(out.glob("*.whl"))


def test_wheel_holds_the_built_page_and_the_contracts(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"plugin/static/index.js", "plugin/http_api.md", "events/losslens.proto", "events/losslens_pb2.py", "py.typed"}
    wanted |= {"html/style.css"}
    assert {f"tb_losslens/{name}" for name in wanted} <= names
    compiled = [name for name in names if name.startswith("tb_losslens/record/_native.") and not name.endswith(".pyi")]
    assert (len(compiled) == 1) == native.available
    assert not [name for name in names if name.startswith(("tests/", "demo/", "frontend/", "benchmarks/"))]


def test_wheel_serves_its_tab_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), *PIP, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(install, check=True)
    # reading logs needs no torch
    assert subprocess.run([str(python), "-c", "import torch"], stderr=subprocess.DEVNULL, check=False).returncode == 1
    logdir = tmp_path / "logs"
    logdir.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(home / "bin" / "tensorboard"), "--logdir", str(logdir), "--port", str(port), "--host", "127.0.0.1"]
    with (tmp_path / "tensorboard.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        listing = json.loads(_get(port, "data/plugins_listing", tmp_path / "tensorboard.log"))
        assert listing["losslens"]["tab_name"] == "LossLens"
        entry = listing["losslens"]["loading_mechanism"]["module_path"].lstrip("/")
        script = _get(port, f"data/plugin/losslens/{entry.removeprefix('data/plugin/losslens/')}", tmp_path / "tensorboard.log")
        with zipfile.ZipFile(wheel) as archive:
            assert script == archive.read("tb_losslens/plugin/static/index.js")
        runs = json.loads(_get(port, "data/plugin/losslens/runs", tmp_path / "tensorboard.log"))
        assert runs["runs"] == []
        assert "LossLensWriter" in runs["hint"]
    finally:
        server.terminate()
        server.wait(20)


def _get(port: int, path: str, log: Path) -> bytes:
    """Body of a GET; waits up to a minute for the server to start."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer from TensorBoard; its log:\n{log.read_text()}") from None
            time.sleep(0.3)
