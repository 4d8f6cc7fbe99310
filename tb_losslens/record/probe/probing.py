"""The call that sets up the probe of a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tb_losslens.record.guard import Guard
from tb_losslens.record.probe.arguments import probe_batch, probe_loss
from tb_losslens.record.probe.batch import ProbeBatch
from tb_losslens.record.probe.evaluation import Loss
from tb_losslens.record.probe.probe import Probe
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.watch import Watch


class ProbeCall:
    """The part of `LossLensWriter` that sets up the probe."""

    _guard: Guard
    _watch: Watch

    def _call(self, collector: str, function: Callable[[Recorder], Any]) -> None:
        raise NotImplementedError

    def set_probe(self, train_batch: Any = None, heldout_batch: Any = None, *, loss_fn: Loss | None = None) -> None:
        """Evaluates two fixed batches around each epoch boundary, to tell apart what changed there; off without this call.

        Their losses are recorded at the end of an epoch (t0), right before the first update of the next (t1), 1, 2 and 5
        updates later, and around each validation; in evaluation mode and with BatchNorm on the statistics of the batch.
        Changed at t1 without an update: something touched the model. Unchanged while the training loss jumps: it is the
        data, or the logger. Changed only afterwards: the optimiser.

        Weights, buffers, modes, gradients and random numbers stay as they are. Forward hooks of your own on the
        model are called as well, and what your modules keep elsewhere than in attributes of theirs (a file, a global,
        an attribute of another object) is not put back. All of it takes at most half a second and
        1 % of the run's time, after the first two boundaries; points and boundaries are left out to hold that, and those two as
        well where one evaluation alone takes more. On a device it waits for the results.

        Args:
            train_batch: training samples, (inputs, target): inputs a tensor, a tuple of arguments or a dict of named
                ones. By default those of the first batch that is trained on. The first 256 are copied.
            heldout_batch: the same of held-out samples; by default those of the first batch of a validation.
            loss_fn: `loss_fn(output, target)`; by default the watched criterion.

        Raises:
            TypeError: a batch is no pair, or holds no tensor, or `loss_fn` cannot be called.
            ValueError: a batch without samples, or one that is too large to be kept and cannot be cut.
        """
        train, heldout = probe_batch("train_batch", train_batch), probe_batch("heldout_batch", heldout_batch)
        loss = probe_loss(loss_fn)
        self._call("probe", lambda recorder: self._set_up(recorder, train, heldout, loss))

    def _set_up(self, recorder: Recorder, train: ProbeBatch | None, heldout: ProbeBatch | None, loss_fn: Loss | None) -> None:
        @contextmanager
        def paused() -> Iterator[None]:
            with self._watch.forwards.pause(), self._watch.losses.pause():
                yield

        def record(kind: str, text: str, fields: dict[str, Any]) -> None:
            recorder.outbox.record(kind, text=text, fields=fields)

        def took(seconds: float) -> None:
            self._guard.apart += seconds

        probe = Probe(
            train,
            heldout,
            loss_fn,
            models=lambda: self._watch.forwards.models,
            criteria=lambda: self._watch.losses.criteria,
            paused=paused,
            record=record,
            warn=self._guard.warn,
            took=took,
        )
        if self._watch.probe is not None:
            self._watch.collectors.remove(self._watch.probe)
            record("note", "probe: replaced, its losses are those of other batches from here on", {"about": "probe"})
        self._watch.probe = probe
        self._watch.collectors.add(probe)
