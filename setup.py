"""Builds the page and the compiled half of the short way with the package: `pip install .` from a checkout is all it takes.

Without a compiler for C the package is the same, and recording costs steps of a fraction of a millisecond more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
FRONTEND = ROOT / "frontend"
STATIC = ROOT / "tb_losslens" / "plugin" / "static"
STAMP = STATIC / ".built-from"


def _sources_digest() -> str:
    """One hash over everything that the page is built from."""
    digest = hashlib.sha256()
    names = [p for p in FRONTEND.glob("*") if p.suffix in {".json", ".mjs", ".js"} and p.is_file()]
    for path in sorted([*names, *(p for p in (FRONTEND / "src").rglob("*") if p.is_file())]):
        digest.update(path.relative_to(FRONTEND).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build_page() -> None:
    """Builds frontend/ into tb_losslens/plugin/static/, unless it was built from the same sources before.

    An sdist carries the built page and no sources of it: there is nothing to build there.
    """
    if not (FRONTEND / "package.json").is_file():
        if not (STATIC / "index.js").is_file():
            raise RuntimeError("neither frontend/ nor a built page is here: build from a git checkout or an sdist")
        return
    digest = _sources_digest()
    if STAMP.is_file() and STAMP.read_text() == digest and (STATIC / "index.js").is_file():
        return
    spec = importlib.util.spec_from_file_location("losslens_npm", FRONTEND / "npm.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("frontend/npm.py cannot be loaded: the checkout is incomplete")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.npm("ci", "--no-audit", "--no-fund")
    module.npm("run", "build")
    STAMP.write_text(digest)


class BuildPy(build_py):
    """build_py that builds the page first; editable installs come through here too."""

    def run(self) -> None:
        build_page()
        super().run()


class Sdist(sdist):
    """sdist that carries the built page."""

    def run(self) -> None:
        build_page()
        super().run()


def extensions() -> list[Extension]:
    """The compiled half, for interpreters that it is written for: with a lock around what runs."""
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return []
    # a product and a sum are rounded one after the other, as in Python
    arguments = [] if sys.platform == "win32" else ["-ffp-contract=off"]
    return [
        Extension(f"tb_losslens.record._{name}", [f"tb_losslens/record/{name}.c"], extra_compile_args=arguments, optional=True)
        for name in ("native", "digests")
    ]


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildPy, "sdist": Sdist}, ext_modules=extensions())
