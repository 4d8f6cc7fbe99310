"""`LossLensWriter`: a `SummaryWriter` that also records every batch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch import nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from tb_losslens.events.metadata import JUMP_TAG, SUMMARY_TAG
from tb_losslens.record import arguments as check
from tb_losslens.record import exits
from tb_losslens.record.facts import plain, versions
from tb_losslens.record.file_writer import EventFileWriter
from tb_losslens.record.guard import Guard
from tb_losslens.record.loader import wrap_loader
from tb_losslens.record.logged_batch import fill
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.session import Session
from tb_losslens.record.summary import markdown, run_name
from tb_losslens.record.watch import Watch

_Loader = TypeVar("_Loader")


class LossLensWriter(SummaryWriter):
    """A drop-in `SummaryWriter` that records every batch of a training for the LossLens tab.

    All methods of `SummaryWriter` keep working. Nothing here raises because of what it sees in a training or on the
    disk: a part that fails is named in one warning and switched off.

    Args:
        log_dir: directory of the run, as in `SummaryWriter`; the other positional arguments are the same, too.
        comment: appended to the default directory.
        purge_step: first step of this run, where an earlier one in the same directory went further.
        max_queue: as in `SummaryWriter`.
        flush_secs: as in `SummaryWriter`.
        filename_suffix: as in `SummaryWriter`.
        loss_tag: the `add_scalar` tag that holds the loss of each batch; found by itself where one tag with "loss" in its
            name is written once a batch.
        run: name of the run in TensorBoard, for the link in the text summary; by default the part of `log_dir` after
            its first directory.
    """

    def __init__(
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
        self._guard = Guard()
        self._recorder: Recorder | None = None
        self._closed = False
        self._begin = time.perf_counter()
        self._config: dict[str, Any] = {}
        self._watch = Watch(self._guard, lambda: self._recorder)
        super().__init__(log_dir, comment, purge_step, max_queue, flush_secs, filename_suffix)  # type: ignore[no-untyped-call]
        self._run = run if run is not None else run_name(str(self.log_dir))
        self._guard.call("recording", self._start, loss_tag, purge_step)
        exits.register(self)

    def _start(self, loss_tag: str | None, purge_step: int | None) -> None:
        session = Session(self.log_dir, self.file_writer.event_writer, warn=self._guard.say, facts={"versions": versions()})
        self._recorder = Recorder(
            session,
            self._guard,
            loss_tag=loss_tag,
            first_step=purge_step or 0,
            lr=self._watch.plain_rates,
            jump=self._write_jump,
        )
        self._recorder.counter = self._watch.counter

    def _get_file_writer(self) -> Any:
        if self.all_writers is None or self.file_writer is None:
            self.file_writer = EventFileWriter(
                self.log_dir, self.max_queue, self.flush_secs, self.filename_suffix, warn=self._guard.say
            )
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                step, self.purge_step = self.purge_step, None
                self.file_writer.add_event(Event(step=step, file_version="brain.Event:2"))
                self.file_writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        return self.file_writer

    # --- what to watch ----------------------------------------------------------------------------------------------

    def watch(
        self,
        model: nn.Module | Iterable[nn.Module] | None = None,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
        *,
        scheduler: Any = None,
        criterion: Any = None,
        scaler: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Records what can be seen of these objects; calls add up, and each argument may be a sequence.

        Args:
            model: the module that the loop calls; after `torch.compile` or DDP, what they returned.
            optimizer: without it, the first one that steps while a wrapped loader is iterated.
            scheduler: LR scheduler, for its class and numbers.
            criterion: loss module; its calls with gradients are the loss of the batch.
            scaler: AMP gradient scaler; gradient norms are divided by its scale.
            config: your own settings, kept as facts of the run.

        Raises:
            TypeError: an argument is not what its name says.
        """
        models = check.modules("model", model)
        optimizers = check.optimizers(optimizer)
        settings = check.config(config)
        for one in models:
            self._guard.call("watch(model)", self._watch.add_model, one)
        for one in optimizers:
            self._guard.call("watch(optimizer)", self._watch.add_optimizer, one)
        for one in check.items(criterion):
            self._guard.call("watch(criterion)", self._watch.add_criterion, one)
        for one in check.items(scheduler):
            self._guard.call("watch(scheduler)", self._watch.add_scheduler, one)
        if scaler is not None:
            self._watch.scaler = scaler
        if settings:
            self._guard.call("config", self._take_config, settings)

    def wrap(self, loader: _Loader, split: str = "train") -> _Loader:
        """`loader` itself in every respect, and iterating it marks epochs and batches.

        Args:
            loader: a torch DataLoader, or anything else that can be iterated.
            split: "train", or "val" for a loader whose iteration is a validation.

        Raises:
            TypeError: `loader` cannot be iterated.
            ValueError: another `split`.
        """
        check.split(split)
        wrapped: _Loader = wrap_loader(loader, split, self, self._guard)
        return wrapped

    # --- what the loop says -----------------------------------------------------------------------------------------

    def start_epoch(self, epoch: int) -> None:
        """The next batch begins epoch `epoch`; for loops without a wrapped loader, or to give its epochs numbers.

        Raises:
            TypeError: `epoch` is not an integer.
        """
        number = check.integer("epoch", epoch)
        self._call("epochs", lambda recorder: recorder.start_epoch(number))

    def end_epoch(self) -> None:
        """The epoch is over; needed only where no wrapped loader says so."""
        self._call("epochs", lambda recorder: recorder.end_epoch())

    def log_batch(
        self,
        loss: Any,
        *,
        step: int | None = None,
        epoch: int | None = None,
        inputs: Any = None,
        targets: Any = None,
        per_sample: Any = None,
        sample_ids: Any = None,
        batch_size: int | None = None,
        source: Any = None,
        hidden: Any = None,
        **columns: Any,
    ) -> None:
        """Records one batch of training.

        Args:
            loss: its raw loss, a number or a tensor of one element; a tensor on a device is read later, without waiting.
            step: your global step.
            epoch: number of its epoch, where no wrapped loader or `start_epoch` says it.
            inputs: what the model was given, for its mean and deviation; only numbers are kept.
            targets: its targets, for class counts or mean and deviation.
            per_sample: loss of each sample.
            sample_ids: dataset index of each sample.
            batch_size: samples in it.
            source: number or name of the data source that it came from.
            hidden: incoming hidden state, for its norm; or that norm.
            **columns: further numbers, kept under their own names.

        Raises:
            TypeError: a value is of the wrong type.
            ValueError: a value has the wrong shape, or a column an impossible name.
        """
        logged = check.batch(
            loss=loss, step=step, epoch=epoch, inputs=inputs, targets=targets, per_sample=per_sample, sample_ids=sample_ids,
            batch_size=batch_size, source=source, hidden=hidden, columns=columns,
        )  # fmt: skip
        self._call("log_batch", lambda recorder: fill(recorder, self._watch, logged))

    def log_validation(
        self,
        value: Any,
        *,
        step: int | None = None,
        epoch: int | None = None,
        batch_losses: Any = None,
        batch_sizes: Any = None,
    ) -> None:
        """Records the loss of a validation: the one that is open or has just ended, else one of its own.

        Args:
            value: its loss, a number or a tensor of one element.
            step: your global step.
            epoch: the epoch after which it was measured.
            batch_losses: loss of each of its batches.
            batch_sizes: samples in each of them.

        Raises:
            TypeError: a value is of the wrong type.
            ValueError: `batch_sizes` is not as long as `batch_losses`.
        """
        number = check.number("value", value)
        at = None if step is None else check.integer("step", step)
        of = None if epoch is None else check.integer("epoch", epoch)
        losses, sizes = check.batches(batch_losses, batch_sizes)
        self._call("validation", lambda recorder: recorder.log_validation(number, at, of, losses, sizes))

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Everything inside is a validation: forwards and losses in it are not of the training."""
        self._call("validation", lambda recorder: recorder.begin_validation(explicit=True))
        try:
            yield
        finally:
            self._call("validation", lambda recorder: recorder.leave_validation())

    def note(self, text: str, *, kind: str = "note", **fields: Any) -> None:
        """Records that something happened now, for the event lane.

        Args:
            text: one line for a reader.
            kind: "note", "config_change", "save" or "restore".
            **fields: what else is worth keeping.

        Raises:
            TypeError: `text` is not a text.
            ValueError: another `kind`.
        """
        check.note(text, kind)
        self._call("note", lambda recorder: recorder.note(kind, text, plain(fields)))

    def _call(self, collector: str, function: Any) -> None:
        recorder = self._recorder
        if recorder is not None:
            self._guard.call(collector, function, recorder)

    # --- loaders tell (Listener) ------------------------------------------------------------------------------------

    def pulled(self, source: Any, batch: Any) -> None:
        """A wrapped loader delivered a batch."""
        if self._recorder is not None:
            self._recorder.pulled(source, batch)

    def exhausted(self, source: Any) -> None:
        """A wrapped loader came to its end."""
        if self._recorder is not None:
            self._recorder.exhausted(source)
            self._watch.refresh()

    def dropped(self, source: Any) -> None:
        """A loop over a wrapped loader is gone."""
        if self._recorder is not None:
            self._recorder.dropped(source)

    # --- SummaryWriter ----------------------------------------------------------------------------------------------

    def add_scalar(self, tag: str, scalar_value: Any, global_step: Any = None, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; the loss of a batch is seen at full resolution."""
        super().add_scalar(tag, scalar_value, global_step, *args, **kwargs)  # type: ignore[no-untyped-call]
        if self._recorder is not None:
            self._guard.call("add_scalar", self._recorder.scalar, tag, scalar_value, global_step)

    def add_hparams(self, hparam_dict: Any, metric_dict: Any, *args: Any, **kwargs: Any) -> None:
        """As in `SummaryWriter`; the settings are kept as facts of the run, too."""
        super().add_hparams(hparam_dict, metric_dict, *args, **kwargs)  # type: ignore[no-untyped-call]
        self._guard.call("config", self._take_config, hparam_dict)

    def flush(self) -> None:
        """Brings everything recorded so far to disk."""
        self._call("flush", lambda recorder: recorder.flush())
        super().flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Ends the recording and closes the file; a second call does nothing."""
        if self._recorder is not None:
            self._guard.call("close", self._end, self._recorder)
            self._recorder = None
        self._guard.alive = False
        self._watch.remove()
        exits.forget(self)
        super().close()  # type: ignore[no-untyped-call]

    def _end(self, recorder: Recorder) -> None:
        recorder.close()
        recorder.facts(self._last_facts(recorder))
        self._write_summary(recorder)
        recorder.session.close()

    # --- facts ------------------------------------------------------------------------------------------------------

    def _take_config(self, settings: Mapping[str, Any]) -> None:
        new = plain(dict(settings))
        changed = {key: value for key, value in new.items() if key in self._config and self._config[key] != value}
        self._config.update(new)
        if self._recorder is None:
            return
        self._recorder.facts({"config": dict(self._config)})
        if changed:
            text = "settings changed: " + ", ".join(f"{key} {value}" for key, value in changed.items())
            self._recorder.note("config_change", text, changed)

    def _last_facts(self, recorder: Recorder) -> dict[str, Any]:
        spent = self._guard.spent / max(time.perf_counter() - self._begin, 1e-9)
        return {**recorder.loss_facts(), "overhead": round(spent, 6)}

    def _write_jump(self, jump: float, step: int) -> None:
        super().add_scalar(JUMP_TAG, jump, step)  # type: ignore[no-untyped-call]

    def _write_summary(self, recorder: Recorder) -> None:
        super().add_text(SUMMARY_TAG, markdown(self._run, recorder.known), 0)  # type: ignore[no-untyped-call]
