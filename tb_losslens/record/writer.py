"""`LossLensWriter`: a `SummaryWriter` that also records every batch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch
import torch.distributed
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard import SummaryWriter

from tb_losslens.events.metadata import JUMP_TAG, SUMMARY_TAG
from tb_losslens.events.scalar import LARGEST, scalar_event
from tb_losslens.record import arguments as check
from tb_losslens.record import exits, native
from tb_losslens.record.calls import Calls
from tb_losslens.record.disk.session import Session
from tb_losslens.record.facts import plain, versions
from tb_losslens.record.file_writer import EventFileWriter
from tb_losslens.record.guard import Guard
from tb_losslens.record.passes import Pass
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.signals.loss_identity import identity_facts
from tb_losslens.record.summary import markdown, run_name
from tb_losslens.record.turns import Turns
from tb_losslens.record.watch import Watch

_TELL_COST = 1.0
"""Seconds after which the end of an epoch says again what recording has cost so far."""


class LossLensWriter(Calls, SummaryWriter):
    """A drop-in `SummaryWriter` that records every batch of a training for the LossLens tab.

    All methods of `SummaryWriter` keep working. In a distributed training the first process writes to `log_dir`, every other
    one to `rank<r>` below it. Nothing here raises because of what it sees in a training or on the
    disk: a part that fails is named in one warning and switched off.

    Args:
        log_dir: directory of the run, as in `SummaryWriter`; the other positional arguments are the same, too.
        comment: appended to the default directory.
        purge_step: first step of this run, where an earlier one in the same directory went further.
        max_queue: as in `SummaryWriter`.
        flush_secs: as in `SummaryWriter`.
        filename_suffix: as in `SummaryWriter`.
        loss_tag: the `add_scalar` tag that holds the loss of each batch; found by itself where one tag with "loss" in its
            name is written once a batch, or where one of several says that it is the whole: `loss/total`, `train/loss`.
        run: name of the run in TensorBoard, for the link in the text summary; by default the part of `log_dir` after
            its first directory.

    Raises:
        TypeError: `loss_tag` or `run` is not a text.
    """

    def __init__(  # noqa: PLR0917 - those of SummaryWriter
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
        *,
        loss_tag: str | None = None,
        run: str | None = None,
    ) -> None:
        check.loss_tag(loss_tag)
        check.run(run)
        self._guard = Guard(torch.is_grad_enabled, torch._C._set_grad_enabled)
        self._turns = Turns()
        self._recorder: Recorder | None = None
        self._begin = time.perf_counter()
        self._told_cost = -math.inf
        self._config: dict[str, Any] = {}
        self._summarised = self._told_of_disk = self._told_of_main = False
        self._empty_passes = 0
        self._watch = Watch(self._guard, lambda: self._recorder)
        super().__init__(_of_rank(log_dir), comment, purge_step, max_queue, flush_secs, filename_suffix)
        self._run = run if run is not None else run_name(str(self.log_dir))
        self._guard.call("recording", self._start, loss_tag, purge_step)
        exits.register(self)

    def _start(self, loss_tag: str | None, purge_step: int | None) -> None:
        event_file = self._get_file_writer().event_writer
        facts: dict[str, Any] = {"versions": versions(), "compiled": native.available, **identity_facts()}
        if purge_step is not None:
            facts["purge_step"] = purge_step
        session = Session(str(self.log_dir), event_file, warn=self._guard.say, disk_failed=self._main_failed, facts=facts)
        self._recorder = Recorder(
            session,
            self._guard,
            loss_tag=loss_tag,
            first_step=purge_step or 0,
            lr=self._watch.updates.plain_rates,
            counter=self._watch.forwards.counter,
            jump=self._write_jump,
            epoch_ended=self._epoch_ended,
            about_epoch=self._watch.collectors.epoch,
            about_validation=self._watch.collectors.validation,
            lane=self._watch.lane,
            deep_spent=lambda: self._watch.collectors.deep_spent,
            completes=lambda row: self._watch.collectors.tell("completes", row),
        )
        updates, evaluations = self._watch.updates, self._recorder.steps.evaluations
        evaluations.writes, evaluations.expects_step = updates.writes, lambda: updates.named

    def _open(self, directory: Any) -> Any:
        warn = self._main_failed if directory == self.log_dir else self._disk_failed
        return EventFileWriter(directory, self.max_queue, self.flush_secs, self.filename_suffix, warn=warn)

    def _main_failed(self, text: str) -> None:
        if not self._told_of_main:  # one sentence for the tail, the events and what was lost of them, which the report counts
            self._told_of_main = self._told_of_disk = True
            self._guard.say(text)

    def _disk_failed(self, text: str) -> None:
        if not self._told_of_disk:  # one sentence is enough, however many other files cannot be written
            self._told_of_disk = True
            self._guard.say(text)

    def _get_file_writer(self) -> Any:
        if self.all_writers is None or self.file_writer is None:
            writer = self._open(self.log_dir)
            self.file_writer = writer
            writers: Any = {writer.get_logdir(): writer}
            self.all_writers = writers
            if self.purge_step is not None:
                step, self.purge_step = self.purge_step, None
                writer.add_event(Event(step=step, file_version="brain.Event:2"))
                writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        return self.file_writer

    # --- SummaryWriter ----------------------------------------------------------------------------------------------

    def add_scalar(self, tag: str, scalar_value: Any, global_step: Any = None, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; the loss of a batch is seen at full resolution."""
        simple = type(tag) is str and type(scalar_value) is float and type(global_step) is int and not (args or kwargs)
        fits = simple and (-LARGEST < scalar_value < LARGEST or scalar_value - scalar_value != 0)
        if fits and 0 <= global_step < 1 << 63:
            event = scalar_event(tag, scalar_value, global_step, time.time())
            self._get_file_writer().event_writer.add_bytes(event)
        else:
            super().add_scalar(tag, scalar_value, global_step, *args, **kwargs)
        recorder = self._recorder
        if recorder is not None and (type(tag) is not str or recorder.minds(tag)):
            self._in_order(self._guard.call, "add_scalar", recorder.scalar, tag, scalar_value, global_step)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Any, global_step: Any = None, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; each of them is seen as `main_tag/key`."""
        base = self._get_file_writer().get_logdir() + "/" + main_tag.replace("/", "_") + "_"
        writers: Any = self.all_writers
        for key in tag_scalar_dict:  # where torch would open writers of its own, which raise when the disk is full
            if base + key not in writers:
                writers[base + key] = self._open(base + key)
        super().add_scalars(main_tag, tag_scalar_dict, global_step, *args, **kwargs)
        if self._recorder is not None:
            for key, value in tag_scalar_dict.items():
                name = f"{main_tag}/{key}"
                self._in_order(self._guard.call, "add_scalar", self._recorder.scalar, name, value, global_step)

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; the calls of the model that draw its graph are no steps."""
        with self._watch.forwards.pause():
            super().add_graph(*args, **kwargs)

    def add_hparams(self, hparam_dict: Any, metric_dict: Any, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; the settings are kept as facts of the run, too."""
        try:
            super().add_hparams(hparam_dict, metric_dict, *args, **kwargs)
        except OSError as error:  # it opens a writer of torch's own
            self._disk_failed(f"LossLens: the settings of add_hparams cannot be written ({error}); the training goes on.")
        self._guard.call("config", self._take_config, hparam_dict)

    def flush(self) -> None:
        """Brings everything recorded so far to disk."""
        self._call("flush", lambda recorder: recorder.flush())
        super().flush()

    def close(self) -> None:
        """Ends the recording and closes the file; a second call does nothing.

        As with `SummaryWriter`, what is added afterwards goes into a new file, without a recording.
        """
        self._watch.lane.leave(here=True)
        self._watch.lane.recorder = None
        if self._recorder is not None:
            self._guard.call("close", self._end, self._recorder)
            self._guard.call("close", self._recorder.session.close)
            self._recorder = None
        self._guard.alive = False
        self._watch.remove()
        exits.forget(self)
        super().close()

    def exhausted(self, source: Pass) -> None:
        """A wrapped loader came to its end."""
        if source.split == "train" and not source.pulled:
            self._empty_passes += 1
            if self._empty_passes == 1 and self._recorder is not None:
                self._recorder.facts({"empty_passes": 1, "loader": source.loader})
        super().exhausted(source)

    # --- facts ------------------------------------------------------------------------------------------------------

    def _end(self, recorder: Recorder) -> None:
        if self._watch.probe is not None:
            self._watch.probe.close()
        recorder.close()
        self._tell_cost(recorder)
        self._write_summary(recorder)

    def _epoch_ended(self, recorder: Recorder) -> None:
        if time.perf_counter() - self._told_cost >= _TELL_COST:  # epochs may last no time
            self._tell_cost(recorder)

    def _tell_cost(self, recorder: Recorder) -> None:
        self._told_cost = time.perf_counter()
        elapsed = max(self._told_cost - self._begin, 1e-9)
        empty = {"empty_passes": self._empty_passes} if self._empty_passes else {}
        took = max(0.0, self._guard.spent - self._guard.stood)  # while others had the processor nothing was recorded
        cost = {"overhead": round(took / elapsed, 4), "elapsed": round(elapsed, 2)}
        recorder.facts({**recorder.loss_facts(), **empty, **cost})
        self._write_summary(recorder)

    def _take_config(self, settings: Mapping[str, Any]) -> None:
        new = plain(dict(settings))
        changed = {key: value for key, value in new.items() if key in self._config and self._config[key] != value}
        self._config.update(new)
        if self._recorder is None:
            return
        self._watch.lane.leave()
        self._recorder.facts({"config": dict(self._config)})
        if changed:
            text = "settings changed: " + ", ".join(f"{key} {value}" for key, value in changed.items())
            self._recorder.note("config_change", text, changed)

    def _write_jump(self, jump: float, step: int) -> None:
        super().add_scalar(JUMP_TAG, jump, step)

    def _write_summary(self, recorder: Recorder) -> None:
        if not self._summarised:
            self._summarised = True
            super().add_text(SUMMARY_TAG, markdown(self._run, recorder.known), 0)


def _of_rank(log_dir: Any) -> Any:
    """The directory for this process of a distributed training: `rank<r>` below the run for all but the first."""
    if not log_dir or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return log_dir
    rank = torch.distributed.get_rank()
    return str(PurePath(log_dir) / f"rank{rank}") if rank else log_dir
