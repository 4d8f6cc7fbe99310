"""Torch's file writer on our own event file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.tensorboard import FileWriter

from tb_losslens.record.disk.event_file import EventFile


class EventFileWriter(FileWriter):
    """What `SummaryWriter` writes to: every event, the standard ones and ours, goes into one file.

    Args:
        log_dir: directory of the run.
        max_queue: as in torch.
        flush_secs: as in torch.
        filename_suffix: as in torch.
        warn: called with a sentence if the file cannot be written.
    """

    def __init__(
        self, log_dir: Any, max_queue: int, flush_secs: float, filename_suffix: str, *, warn: Callable[[str], None]
    ) -> None:
        # not FileWriter.__init__, which would open a file of its own
        self.event_writer = EventFile(str(log_dir), max_queue, flush_secs, filename_suffix, warn=warn)
