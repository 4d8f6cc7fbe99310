"""When the short way (lane.py) begins and ends, and what it knows in between."""

from __future__ import annotations

import weakref
from array import array
from threading import get_ident
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch, describe
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.guard import Guard
from tb_losslens.record.lane_return import Noted, adopt, replay
from tb_losslens.record.lane_rows import LaneRows
from tb_losslens.record.lane_start import (
    END,
    PULL,
    SIZE,
    STEPPED,
    WAIT,
    Usual,
    usual_sequence,
)
from tb_losslens.record.passes import Pass
from tb_losslens.record.sampler_tap import Ids, as_ids

if TYPE_CHECKING:
    from tb_losslens.record.recorder import Recorder
    from tb_losslens.record.row import Row
    from tb_losslens.record.watch import Watch

_NAME = "short way"
_MOST_EVENTS = 16


class LaneState:
    """What is noted of the row that is on, and the way in and out.

    Args:
        watch: the watched objects.
        guard: is told what is spent here, and what fails.

    Attributes:
        on: events are taken here.
        recorder: where rows go; None before there is one, and after the end.
        model: what is called in each step.
        criterion: the same of the loss.
        optimizer: whose steps these are.
    """

    __slots__ = (
        "_ahead",
        "_awake",
        "_before",
        "_decided",
        "_events",
        "_given",
        "_gradient",
        "_groups",
        "_guard",
        "_ids",
        "_inputs",
        "_late",
        "_mode_at",
        "_modules",
        "_owner",
        "_parameter",
        "_place",
        "_raw",
        "_rows",
        "_samples_each",
        "_scalar_at",
        "_seen",
        "_skipped",
        "_source",
        "_tag",
        "_thread",
        "_timed",
        "_unusual",
        "_usual",
        "_values",
        "_version",
        "_watch",
        "criterion",
        "model",
        "on",
        "optimizer",
        "recorder",
    )

    _usual: Usual
    _rows: LaneRows
    _values: list[float]
    _events: tuple[int, ...]
    _source: Pass

    def __init__(self, watch: Watch, guard: Guard) -> None:
        self._watch = watch
        self._guard = guard
        self._thread = self._owner = get_ident()
        self.on = False
        self.recorder: Recorder | None = None
        self.model: nn.Module | None = None
        self.criterion: nn.Module | None = None
        self.optimizer: Optimizer | None = None
        self._seen: list[tuple[int, Any]] = []
        self._before: tuple[int, ...] = ()
        self._decided: int | None = None
        self._late: Row | None = None
        self._raw: Any = None
        self._ids: array[int] | None = None
        self._inputs: weakref.ref[Tensor] | None = None
        self._given: int | None = None
        self._ahead = self._skipped = self._place = 0
        self._samples_each = -1.0
        self._timed = False
        self._gradient = self._version = 0

    def saw(self, kind: int, what: Any = None) -> None:
        """The long way had an event, which is one of those that make up a step."""
        if kind == PULL:
            self._before = tuple(event for event, _ in self._seen)
            self._seen = []
        if len(self._seen) < _MOST_EVENTS:
            self._seen.append((kind, what))

    # --- begin and end ----------------------------------------------------------------------------------------------

    def density(self, source: Pass) -> int:
        """Whether the row of the batch that was pulled last is dense; to be asked once a batch of the long way."""
        if self.recorder is None:  # another thread has closed it
            return SPARSE
        decided, self._decided = self._decided, None
        return self.recorder.steps.density(source, source.pulled - 1) if decided is None else decided

    def begins(self, source: Pass, ids: Ids | None, wait: float, raw: Any) -> bool:
        """True if the row of a batch that was just pulled, which is sparse, goes the short way."""
        recorder = self.recorder
        if recorder is None or self.on or _NAME in self._guard.disabled or get_ident() != self._owner:
            return False
        try:
            usual = usual_sequence(self._watch, recorder, self._before, self._seen, source)
            if usual is not None:
                self._begin(recorder, usual, array("q", ids.tobytes()) if ids is not None else None, wait, raw)
        except Exception as error:  # noqa: BLE001 - the training must go on, whatever went wrong in here
            return self._failed(error)
        return self.on

    def _begin(self, recorder: Recorder, usual: Usual, ids: array[int] | None, wait: float, raw: Any) -> None:
        source = usual.source
        self._usual, self._rows, self._source = usual, LaneRows(recorder, usual), source
        self._events = (*usual.events, END)
        self._mode_at, self._scalar_at, self._tag = usual.mode_at, usual.scalar_at, usual.tag
        self.model, self.criterion, self.optimizer = usual.model, usual.criterion, usual.optimizer
        self._parameter, self._groups = usual.parameter, len(usual.optimizer.param_groups)
        self._modules, self._unusual = self._watch.forwards.modules, recorder.steps.unusual
        self._awake = self._watch.collectors.awake  # as long as this is one pass over a loader
        self._values = [0.0] * len(usual.names)
        self._late, self._samples_each = usual.row, usual.samples_each
        self._ahead, self._skipped = recorder.steps.cadence.ahead, 0
        self._timed = False  # that of another row: what is timed stands for the rows around it
        self._take(ids, wait, raw)
        if self._awake:
            self._deliver(source, ids, raw)
        self.on = True

    def forget(self) -> None:
        """Lets go of what is trained, at the end of a recording."""
        self._seen, self._late, self._raw = [], None, None
        for name in ("_usual", "_rows", "_source", "_modules", "_parameter"):
            if hasattr(self, name):
                delattr(self, name)

    def leave(self, *, here: bool = False) -> None:
        """Something unusual happens next: what was noted of the row that is on goes the long way.

        On another thread than the lane's it only says so, and the lane's own leaves at its next event: the long way is not for
        two threads at once.

        Args:
            here: on this thread, whichever it is, as at the end of a recording.
        """
        if not self.on:
            return
        if not here and get_ident() != self._owner:
            self._thread = 0
            return
        self.on = False
        self._thread = self._owner
        self._guard.call(_NAME, self._hand_back)

    def _hand_back(self) -> None:
        recorder, usual, rows = self.recorder, self._usual, self._rows
        raw, self._raw, self._late = self._raw, None, None
        self.model = self.criterion = self.optimizer = None
        if recorder is None:
            return
        if self._skipped:
            recorder.steps.cadence.skip(self._skipped, usual.source.pulled - 1)
        complete = self._events[self._place] == END
        before = rows.count
        rows.catch_up()
        complete |= rows.count > before
        rows.settle()
        if rows.count:
            adopt(recorder, usual, rows.newest, self._samples(rows.newest["batch_size"]), rows.given)
        self._watch.collectors.passed(rows.count, inside=self._place > 1 and not complete)
        self._seen = [(kind, usual.what(kind)) for kind in usual.events]
        if complete:
            return
        backward = (self._gradient, self._version) != self._gradient_now()
        samples = self._samples(self._values[SIZE])
        past = usual.events[: self._place]
        noted = Noted(raw, self._ids, self._values, samples, backward, STEPPED in past, self._inputs, self._given)
        for kind in past:
            self.saw(kind, usual.what(kind))
            replay(self._watch, recorder, usual, kind, noted)

    def _samples(self, size: float) -> int:
        """Samples of the criterion's call, where each batch before had as many times its size; -1 where unknown."""
        return round(size * self._samples_each) if size > 0 and self._samples_each > 0 else -1

    def _gradient_now(self) -> tuple[int, int]:
        """Changes with each backward: a hook on the loss, which would tell, costs more than all the rest of the short way."""
        gradient = self._parameter.grad if self._parameter is not None else None
        return (0, 0) if gradient is None else (id(gradient), gradient._version)

    def _failed(self, error: Exception) -> bool:
        """The short way is given up: what was noted goes the long way, which is the only one from here on."""
        self.leave()
        if self.recorder is not None:  # else another thread has closed it meanwhile, and taken away what was needed
            self._guard.disable(_NAME, error)
        return False

    def _left(self) -> bool:
        self.leave()
        return False

    def _follow(self) -> None:
        """The first event after a batch was pulled: the last row that went the long way is through."""
        assert self.recorder is not None
        self._late = None
        self._guard.call(_NAME, self.recorder.steps.finish)

    # --- of an event ------------------------------------------------------------------------------------------------

    def _take(self, ids: array[int] | None, wait: float, raw: Any) -> None:
        values = self._values
        if ids is not None:
            values[SIZE] = len(ids)
        elif type(raw) is tuple or type(raw) is list:
            first = raw[0] if raw else None
            plain = isinstance(first, Tensor) and first.dim() > 0
            values[SIZE] = first.size(0) if plain and first is not None else describe(raw, targets=False).size
        else:
            values[SIZE] = describe(raw, targets=False).size
        values[WAIT] = wait
        self._ids, self._raw, self._given, self._place = ids, raw, None, 1

    def tell_delivery(self, source: Pass, ids: array[int] | None, raw: Any) -> None:
        """A batch was taken, and one of the collectors wants to see it."""
        self._guard.call("delivery", self._deliver, source, ids, raw)

    def _deliver(self, source: Pass, ids: array[int] | None, raw: Any) -> None:
        numbers = as_ids(ids) if ids is not None else None
        self._watch.collectors.delivered(Batch(ids=numbers, index=source.pulled - 1, source=source, dense=SPARSE), raw)
