"""A real TensorBoard whose /lens fails while a file lies there: `python -m tests.e2e.failing --logdir DIR ...`.

The failure is raised where one of ours would be, so what answers it is what answers those: the same 500, in the same words.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tensorboard.main import run_main

from tb_losslens.plugin import api

FLAG = "LOSSLENS_TEST_FAILING"
"""The environment variable that names the file."""


def main() -> None:
    """Runs TensorBoard with its own flags."""
    works = api.lens_impl

    def lens_impl(*arguments: Any, **more: Any) -> dict[str, Any]:
        if Path(os.environ[FLAG]).exists():
            raise ZeroDivisionError("nothing to divide by")
        return works(*arguments, **more)

    api.lens_impl = lens_impl
    run_main()


if __name__ == "__main__":
    main()
