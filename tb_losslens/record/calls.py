"""What a training loop may call: the recording methods of a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from tb_losslens.record import arguments as check
from tb_losslens.record.batch import Batch
from tb_losslens.record.batch_arguments import check_batch
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.data_sets import Samples
from tb_losslens.record.facts import plain
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_start import OTHER, PULL
from tb_losslens.record.loader import wrap_loader
from tb_losslens.record.logged_batch import fill
from tb_losslens.record.passes import Pass
from tb_losslens.record.probe.probing import ProbeCall
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.turns import Turns

_Loader = TypeVar("_Loader")


class Calls(ProbeCall):
    """The recording half of `LossLensWriter`. Bad arguments raise here, in the caller's own call, and nowhere else."""

    _recorder: Recorder | None
    _turns: Turns

    def _take_config(self, settings: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _call(self, collector: str, function: Callable[[Recorder], Any]) -> None:
        if self._recorder is not None:
            self._in_order(self._in_turn, collector, function)

    def _in_order(self, function: Callable[..., Any], *args: Any) -> None:
        """Calls `function(*args)` now, or once what is on has ended: a call of ours that a signal came into, or a thread's."""
        if self._guard.busy:
            self._guard.when_idle(partial(self._in_order, function, *args))
        else:
            self._turns.call(function, *args)

    def _in_turn(self, collector: str, function: Callable[[Recorder], Any]) -> None:
        if self._recorder is not None:  # else another thread has closed it meanwhile
            self._watch.lane.leave()
            self._guard.call(collector, function, self._recorder)

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

        The same object twice is one; another one in the place of an earlier one is a replacement, and an event.

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
        check.scaler(scaler)
        models, optimizers, settings = check.modules(model), check.optimizers(optimizer), check.config(config)
        criteria, schedulers = check.criteria(criterion), check.schedulers(scheduler)
        watch = self._watch
        if models:
            self._guard.call("watch(model)", watch.add_models, models)
        if optimizers:
            self._guard.call("watch(optimizer)", watch.add_optimizers, optimizers)
        if criteria:
            self._guard.call("watch(criterion)", watch.add_criteria, criteria)
        if schedulers:
            self._guard.call("watch(scheduler)", watch.add_schedulers, schedulers)
        if scaler is not None:
            watch.add_scaler(scaler)
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
        check.loader(loader)
        wrapped: _Loader = wrap_loader(loader, split, self, self._guard)
        return wrapped

    # --- what the loop says -----------------------------------------------------------------------------------------

    def start_epoch(self, epoch: int) -> None:
        """The next batch begins epoch `epoch`; for loops without a wrapped loader, or to give its epochs numbers.

        Raises:
            TypeError: `epoch` is not an integer.
            ValueError: it is negative.
        """
        number = check.count("start_epoch(epoch)", epoch)
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
            ValueError: a value has the wrong shape or sign, or a column an impossible name.
        """
        logged = check_batch(
            loss=loss,
            step=step,
            epoch=epoch,
            inputs=inputs,
            targets=targets,
            per_sample=per_sample,
            sample_ids=sample_ids,
            batch_size=batch_size,
            source=source,
            hidden=hidden,
            columns=columns,
        )
        self._watch.lane.saw(OTHER)
        self._call("log_batch", lambda recorder: fill(recorder, self._watch, logged, self._guard))

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
            ValueError: `batch_sizes` is not as long as `batch_losses`, or a step, epoch or size is negative.
        """
        number = check.number("log_validation(value)", value)
        at = None if step is None else check.count("log_validation(step=...)", step)
        of = None if epoch is None else check.count("log_validation(epoch=...)", epoch)
        losses, sizes = check.batches(batch_losses, batch_sizes)
        self._call(
            "validation",
            lambda recorder: recorder.validations.log(number, step=at, epoch=of, losses=losses, sizes=sizes),
        )

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Everything inside is a validation: forwards and losses in it are not of the training."""
        self._call("validation", lambda recorder: recorder.validations.enter())
        try:
            yield
        finally:
            self._call("validation", lambda recorder: recorder.validations.leave())

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

    # --- wrapped loaders tell ---------------------------------------------------------------------------------------

    @property
    def lane(self) -> Lane:
        """The short way for plain batches."""
        return self._watch.lane

    def samples_of(self, loader: Any) -> Samples | None:
        """What the sample ids of a wrapped loader stand for."""
        return self._watch.data_sets.of(loader)

    def express(self, source: Pass, ids: NDArray[np.int64] | None, wait: float, raw: Any) -> int | None:
        """A wrapped loader delivered a batch: None if nothing more needs to be told, else whether its row is dense."""
        lane = self._watch.lane
        lane.leave()
        if self._recorder is None or source.split != "train":
            return SPARSE
        dense = lane.density(source)
        return None if dense == SPARSE and lane.begins(source, ids, wait, raw) else dense

    def pulled(self, source: Pass, batch: Batch, raw: Any) -> None:
        """A wrapped loader delivered a batch."""
        if self._recorder is not None:
            if source.split == "train":
                self._watch.lane.saw(PULL)
                self._watch.collectors.delivered(batch, raw)
            else:
                self._watch.collectors.validation("heldout_delivered", raw)
            self._recorder.pulled(source, batch)

    def exhausted(self, source: Pass) -> None:
        """A wrapped loader came to its end."""
        self._watch.lane.leave()
        if self._recorder is not None:
            self._recorder.exhausted(source)
            self._watch.forwards.refresh()

    def dropped(self, source: Pass) -> None:
        """A loop over a wrapped loader is gone."""
        self._watch.lane.leave()
        if self._recorder is not None:
            self._recorder.dropped(source)
