"""Runs one scenario of frontend/e2e in a real browser on a real TensorBoard."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser import find

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"


def _environment() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("losslens_npm", FRONTEND / "npm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    env: dict[str, str] = module.environment()
    return {**env, "LOSSLENS_CHROMIUM": find() or "", "NO_COLOR": "1"}


@contextlib.contextmanager
def shared_browser() -> Iterator[None]:
    """One browser for all scenarios inside, each with a window and a profile of its own: it starts once."""
    command = ["node", "e2e/serve.mjs"]
    with subprocess.Popen(
        command, cwd=FRONTEND, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        os.environ["LOSSLENS_BROWSER"] = server.stdout.readline().strip()
        try:
            yield
        finally:
            del os.environ["LOSSLENS_BROWSER"]
            server.stdin.close()


def scenario(name: str, base: str, *, timeout: float = 120.0, **options: Any) -> str:
    """What the scenario printed; a failure raises with its whole output."""
    command = ["node", "e2e/run.mjs", name, base, json.dumps(options)]
    done = subprocess.run(
        command, cwd=FRONTEND, env=_environment(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def missing() -> str:
    """Why no browser test can run here, or ""."""
    if find() is None:
        return "no Chromium"
    if not (FRONTEND / "node_modules" / "playwright-core").is_dir():
        return "no playwright-core: run `python frontend/npm.py ci`"
    if not (FRONTEND.parent / "tb_losslens" / "plugin" / "static" / "index.js").is_file():
        return "the page is not built: run `make page`"
    return ""


def in_ci() -> bool:
    return bool(os.environ.get("CI"))
