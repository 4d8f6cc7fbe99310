"""Finds Chromium for the tests in a real browser, or installs it: `python -m tests.browser`.

Exit code 1 only where CI is set and there is no browser: a browser test that is skipped there is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find() -> str | None:
    """Path of a Chromium, from LOSSLENS_CHROMIUM or the search path, or None."""
    return os.environ.get("LOSSLENS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> bool:
    """Tries the system's package manager, where it may be used without a password; True if it worked."""
    if not shutil.which("apt-get"):
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"] if shutil.which("sudo") else None
    if prefix is None:
        return False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        if subprocess.run([*prefix, "apt-get", *arguments], env=env, stdout=subprocess.DEVNULL, check=False).returncode:
            return False
    return True


def main() -> int:
    """Makes a browser available, says so in one line, and tells CI if there is none."""
    if find() is None:
        print("no Chromium found, installing it with the system's package manager ...", flush=True)
        install()
    path = find()
    if path:
        print(f"tests in the browser use {path}")
        return 0
    line = "NO CHROMIUM: every test in a browser will be SKIPPED. Install chromium, or set LOSSLENS_CHROMIUM to its path."
    print("\n".join(["", "!" * len(line), line, "!" * len(line), ""]), file=sys.stderr)
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
