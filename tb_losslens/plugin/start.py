"""How to start a recording: what a reader without one pastes into the training script."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

_HINT = "Nothing here was recorded with LossLens yet. Two lines of the training script and an import start it:"


def hint(code: str) -> str:
    """One sentence, and `code` on the lines after it."""
    return f"{_HINT}\n{code}"


def code(logdir: str, taken: Collection[str]) -> str:
    """Lines of Python that record into a new directory below `logdir`, so that this TensorBoard shows it.

    Args:
        logdir: TensorBoard's log directory as it was given; "" where it is not one directory.
        taken: names of runs that are there: a new run beside an old one in a directory would be drawn over it.
    """
    note = (
        "in place of SummaryWriter" if _is_local(logdir) else "a directory below that of TensorBoard; in place of SummaryWriter"
    )
    return "\n".join(
        (
            "from tb_losslens import LossLensWriter",
            "",
            f"writer = LossLensWriter({json.dumps(_directory(logdir, taken), ensure_ascii=False)})  # {note}",
            "train_loader = writer.wrap(train_loader)  # the loop stays as it is",
        )
    )


def _is_local(logdir: str) -> bool:
    return bool(logdir) and "://" not in logdir


def _directory(logdir: str, taken: Collection[str]) -> str:
    """The first of exp1, exp2, ... that is no run yet; with the whole path, as a script may run anywhere on this machine."""
    new = next(name for name in (f"exp{number}" for number in range(1, len(taken) + 2)) if name not in taken)
    return str(Path(logdir).expanduser().absolute() / new) if _is_local(logdir) else f"runs/{new}"
