"""What is told in the middle of a step does not end it."""

from __future__ import annotations

from tb_losslens.record.step import Steps


def pause(steps: Steps) -> None:
    """`steps.pause()`, but where a step is on: its loss is still to come, and what is told stands before its row.

    A user notes something between two calls of the model, a signal handler or another thread at any time.
    """
    row = steps.current
    if row is None or row.stepped or row.logged:
        steps.pause()
