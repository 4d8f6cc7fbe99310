"""What a reader calls a run: TensorBoard names it by its path below the log directory, and the directory itself "."."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def run_label(name: str, logdir: str | os.PathLike[str] = "") -> str:
    """The run's name; for "." the last part of `logdir`, and for "name/." (from `--logdir_spec`) what stands before it.

    Args:
        name: as TensorBoard names it.
        logdir: the log directory as it was given, a path or an address; "" where it is not one directory.
    """
    below = str(PurePosixPath(name)) if name.endswith("/.") else name
    if below != ".":
        return below
    given = str(logdir)
    if "://" in given:
        return PurePosixPath(given).name
    path = Path(given).expanduser().absolute()
    return (given and (path.resolve() if ".." in path.parts else path).name) or "this log directory"
