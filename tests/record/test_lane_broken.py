"""The short way where something breaks in it: the training is what it would be, and no row is lost, doubled or invented."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tb_losslens
from tb_losslens.record import lane_rows, lane_state
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.disk.series import Series
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_rows import LaneRows
from tb_losslens.record.unusual import Unusual
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.training import loader, mlp, two_classes

PACKAGE = str(Path(tb_losslens.__file__).parent)


@pytest.fixture(autouse=True)
def sparse(monkeypatch):
    monkeypatch.setattr(Cadences, "next", lambda cadences, index, length: SPARSE)


class Told(nn.CrossEntropyLoss):
    """Keeps what it returned."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def forward(self, *args):
        loss = super().forward(*args)
        self.losses.append(loss.item())
        return loss


class Training:
    """A loop of which each batch may be watched.

    Attributes:
        losses: of the criterion, in its order.
        done: how many of them a whole step had followed.
    """

    def __init__(self, writer=None):
        torch.manual_seed(0)
        self.writer = writer
        self.losses, self.done = [], []
        self.model, self.criterion = mlp(), Told(self.losses)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loader = loader(two_classes(200), 10, shuffle=True)
        if writer is not None:
            writer.watch(self.model, self.optimizer, criterion=self.criterion)
            self.loader = writer.wrap(self.loader)

    def batch(self, batches):
        inputs, targets = next(batches)
        self.optimizer.zero_grad()
        self.criterion(self.model(inputs), targets).backward()
        self.optimizer.step()
        self.done.append(len(self.losses) - 1)

    def run(self, epochs=3):
        for _ in range(epochs):
            batches = iter(self.loader)
            for _ in range(20):
                self.batch(batches)
            assert next(batches, None) is None
        if self.writer is not None:
            self.writer.close()
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def check(run, training):
    """Each whole batch is a row, in order; one that was broken may be there too, once."""
    losses = run.loss[np.isfinite(run.loss)].tolist()
    assert len(run) - len(losses) <= 1  # it broke before its criterion
    places = [training.losses.index(loss) for loss in losses]
    assert places == sorted(set(places))
    assert set(training.done) <= set(places)
    assert (np.diff(run.step) > 0).all()
    assert [len(run.ragged["sample_ids"][row]) for row in range(len(run))] == [10] * len(run)
    assert run.problems == ()


BREAKABLE = [
    (Lane, "_take"), (Lane, "_store"), (LaneRows, "store"), (LaneRows, "settle"), (Series, "put"), (Series, "end"),
    (Unusual, "takes"), (lane_state, "adopt"), (lane_state, "replay"), (lane_state, "usual_sequence"),
    (lane_rows, "as_ids"), (Lane, "_is_dense"),
]  # fmt: skip


PYTHONS = [(Lane, "_take"), (Lane, "_store"), (Series, "put"), (Unusual, "takes")]
"""Parts of them that the compiled half has of its own, and calls only where something is unusual."""


@pytest.mark.parametrize("after", [0, 1, 7])
@pytest.mark.parametrize(
    ("owner", "name", "compiled"),
    [(*part, compiled) for part in BREAKABLE for compiled in (False, True) if not compiled or part not in PYTHONS],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_each_part_that_fails_is_one_warning(owner, name, compiled, after, tmp_path, monkeypatch, half):
    half(compiled)
    plain = Training().run()
    kept, calls = getattr(owner, name), [0]

    def fails(*args):
        calls[0] += 1
        if calls[0] > after:
            raise OSError("broken")
        return kept(*args)

    monkeypatch.setattr(owner, name, fails)
    training = Training(LossLensWriter(str(tmp_path / "run")))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = training.run()
    said = [str(one.message) for one in caught if "LossLens" in str(one.message)]
    assert all(map(torch.equal, weights, plain))
    assert len(said) == (calls[0] > after), said
    assert all("broken" in text for text in said)
    run = load_runs(tmp_path)["run"]
    assert np.isfinite(run.loss).all()
    if name not in ("end", "settle"):
        assert (np.diff(run.step) > 0).all()
    if (owner, name) in (
        (Lane, "_take"),
        (Series, "put"),
        (Unusual, "takes"),
        (Lane, "_is_dense"),
        (lane_state, "usual_sequence"),
    ):
        check(run, training)  # in front of a row: none is lost


class Interrupt:
    """Raises KeyboardInterrupt before the instruction of the package with number `at`."""

    def __init__(self, at):
        self.left, self.place = at, None

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._instruction

    def _instruction(self, frame, event, arg):
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._instruction


def interrupted(logdir, before, at):
    """An epoch that is interrupted in batch `before`, and two more; where it was, None if the batch came to its end."""
    interrupt = Interrupt(at)
    with LossLensWriter(str(logdir / "run")) as writer:
        training = Training(writer)
        batches = iter(training.loader)
        for _ in range(before):
            training.batch(batches)
        tracer = sys.gettrace()
        sys.settrace(interrupt)
        try:
            training.batch(batches)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        del batches
        training.run(2)
        assert set(writer._guard.disabled) <= {"fingerprints of the samples"}  # what it had half taken
    return interrupt.place, training


@pytest.mark.parametrize(("before", "every"), [(3, 41), (8, 11)])
def test_an_interrupt_anywhere_in_a_step(before, every, tmp_path, half):
    """In the first row of the short way, and in one of a series."""
    half(False)
    places = []
    for at in range(1, 100_000, every):
        place, training = interrupted(tmp_path / str(at), before, at)
        if place is None:
            break
        check(load_runs(tmp_path / str(at))["run"], training)
        places.append(place)
    assert {"lane.py", "passes.py"} <= {place.split(":")[0] for place in places}
    assert {"lane_rows.py", "series.py"} & {place.split(":")[0] for place in places}
