"""Opens the demo runs in TensorBoard: `python -m demo.serve [--logdir demo/runs] [--port PORT]`. Ctrl-C stops it."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from urllib.parse import quote

MOST_TELLING = "cosine_restarts"
HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for_runs(server: subprocess.Popen[bytes], url: str, *, timeout: float = 60.0) -> list[str]:
    """Names of the runs that the tab lists, as soon as it lists any; raises RuntimeError where that does not happen.

    Args:
        server: the TensorBoard process, watched so that its end is noticed at once.
        url: address of TensorBoard, with a slash at its end.
        timeout: seconds.
    """
    deadline = time.monotonic() + timeout
    said = "no answer"
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"TensorBoard stopped with exit status {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}data/plugin/losslens/runs", timeout=5) as response:  # noqa: S310 - our own http URL
                names = [item["run"] for item in json.load(response)["runs"]]
            if names:
                return names
            said = "no runs"
        except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
            said = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"the LossLens tab did not list its runs within {timeout:.0f} s ({said})")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Serves until Ctrl-C, SIGTERM or SIGHUP; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.serve", description=__doc__)
    parser.add_argument("--logdir", type=Path, default=Path("demo/runs"), help="default: demo/runs")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    options = parser.parse_args(arguments)
    if not any(options.logdir.glob("*/events.out.tfevents.*")):
        parser.error(f"{options.logdir} holds no runs: train them first with `python -m demo.run --logdir {options.logdir}`")

    for end in (signal.SIGTERM, signal.SIGHUP):  # the latter when the terminal is closed
        signal.signal(end, _interrupt)
    port = options.port or free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(options.logdir), "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        # a session of its own: Ctrl-C reaches this process alone, which then stops TensorBoard and its data server
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            url = f"http://{HOST}:{port}/"
            names = wait_for_runs(server, url)
            shown = MOST_TELLING if MOST_TELLING in names else names[0]
            print(f"{url}#losslens&p.losslens.run={quote(shown)}", flush=True)
            return server.wait()
        except RuntimeError as error:
            log.seek(0)
            print(error, log.read().decode(errors="replace").strip(), sep="\n", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            stop(server)


def stop(server: subprocess.Popen[bytes], *, grace: float = 5.0) -> None:
    """Ends TensorBoard, at first politely; after `grace` seconds for good."""
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
