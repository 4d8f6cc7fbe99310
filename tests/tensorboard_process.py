"""Starts the real TensorBoard on a log directory and asks it over HTTP, as a browser would."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ADDRESS = re.compile(r"at (http://127\.0\.0\.1:\d+\S*)")


@dataclass(frozen=True)
class Answer:
    code: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        def refuse(token: str) -> None:
            raise AssertionError(f"{token} is no JSON")

        return json.loads(self.body, parse_constant=refuse)


@dataclass(frozen=True)
class TensorBoard:
    """A running server; `base` ends with a slash."""

    base: str
    log: Path

    def get(self, path: str, *, method: str = "GET", gzipped: bool = False, **params: Any) -> Answer:
        """The answer of `path` (relative, sent as it is) with `params` as query, whatever its code."""
        query = "?" + urllib.parse.urlencode(params) if params else ""
        request = urllib.request.Request(self.base + path + query, method=method)
        if gzipped:
            request.add_header("Accept-Encoding", "gzip")
        start = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                code, headers, body = response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            code, headers, body = error.code, dict(error.headers), error.read()
        seconds = time.perf_counter() - start
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Answer(code, headers, body, seconds)

    def ask(self, route: str, **params: Any) -> Answer:
        """A route of ours."""
        return self.get(f"data/plugin/losslens/{route}", **params)

    def data(self, route: str, **params: Any) -> Any:
        """The JSON of a route of ours, which must succeed."""
        answer = self.ask(route, **params)
        assert answer.code == 200, answer.text
        return answer.json()

    def wait_until(self, ready: Callable[[], Any], *, timeout: float = 60.0) -> Any:
        """Asks again and again until `ready()` is true, and returns that."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            result = ready()
            if result:
                return result
            time.sleep(0.1)
        raise AssertionError(f"not ready after {timeout} s; TensorBoard says:\n{self.log.read_text()[-4000:]}")

    def wait_for_runs(self, names: Sequence[str], *, judged: bool = True) -> list[dict[str, Any]]:
        """The rows of /runs, once all of `names` are there (and diagnosed)."""

        def ready() -> list[dict[str, Any]] | None:
            rows: list[dict[str, Any]] = self.data("runs")["runs"]
            found = {row["run"]: row["kind"] for row in rows}
            missing = [name for name in names if found.get(name, "pending" if judged else None) in ("pending", None)]
            return None if missing else rows

        found: list[dict[str, Any]] = self.wait_until(ready)
        return found


@contextlib.contextmanager
def tensorboard(
    logdir: Path | str | None, *flags: str, load_fast: bool = True, module: str = "tensorboard.main"
) -> Iterator[TensorBoard]:
    """TensorBoard on a free port of 127.0.0.1, stopped at the end.

    `logdir` is None where a flag names it; `module` is what starts TensorBoard.
    """
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", "0"]
    command += [] if logdir is None else ["--logdir", str(logdir)]
    command += ["--load_fast", "true" if load_fast else "false", "--reload_interval", "1", *flags]
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield TensorBoard(_address(process, Path(log.name)), Path(log.name))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, *, timeout: float = 60.0) -> str:
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        found = _ADDRESS.search(log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"TensorBoard did not start:\n{log.read_text()[-4000:]}")
