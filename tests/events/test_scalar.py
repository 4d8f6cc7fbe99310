"""A scalar's event is what torch and protobuf make of it, byte for byte."""

import math
import random

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from tb_losslens.events.scalar import LARGEST, scalar_event
from tb_losslens.record.writer import LossLensWriter

TAGS = ["loss", "", "Loss/train", "a b", "é/ü/漢字", "x" * 127, "y" * 128, "z" * 40_000]
VALUES = [0.0, -0.0, 0.1, -3.5e-12, 1e-44, LARGEST, -LARGEST, math.inf, -math.inf, math.nan]
STEPS = [0, 1, 127, 128, 16_384, 2**31, 2**53 + 1, 2**63 - 1]


class Kept:
    """Takes the place of the file of torch's writer."""

    def __init__(self):
        self.events = []

    def add_event(self, event):
        self.events.append(event)


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    writer, kept = SummaryWriter(str(tmp_path / "torch")), Kept()
    monkeypatch.setattr(writer._get_file_writer(), "event_writer", kept)

    def made(tag, value, step, wall_time):
        writer.add_scalar(tag, value, step, wall_time)
        return kept.events.pop().SerializeToString()

    return made


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: f"{len(tag)} letters")
def test_each_value_and_step(tag, theirs):
    for value in VALUES:
        for step in STEPS:
            assert scalar_event(tag, value, step, 1.7e9) == theirs(tag, value, step, 1.7e9), (value, step)


def test_any_value_and_step(theirs):
    random.seed(0)
    for _ in range(2000):
        value, step = random.gauss(0, 10 ** random.uniform(-30, 30)), random.getrandbits(random.randrange(1, 63))
        at, tag = random.uniform(1, 3e9), "".join(chr(random.randrange(1, 0xD7FF)) for _ in range(random.randrange(50)))
        assert scalar_event(tag, value, step, at) == theirs(tag, value, step, at)


def scalars_of(logdir):
    accumulator = EventAccumulator(str(logdir), {"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("accuracy")]


@pytest.mark.parametrize("value", [1, True, 1e300, -1e39, 0.5])
@pytest.mark.parametrize("step", [None, -1, 3, 2**63 - 1])
def test_what_is_read_back_is_the_same(value, step, tmp_path):
    found = []
    for kind in (SummaryWriter, LossLensWriter):
        with kind(str(tmp_path / kind.__name__)) as writer:
            writer.add_scalar("accuracy", value, step)
        found.append(scalars_of(tmp_path / kind.__name__))
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.parametrize(("tag", "value", "step"), [(3, 0.5, 0), ("a\ud800", 0.5, 0), ("a", "b", 0), ("a", 0.5, "c")])
def test_a_bad_argument_raises_as_in_torch(tag, value, step, tmp_path):
    raised = []
    for kind in (SummaryWriter, LossLensWriter):
        with kind(str(tmp_path / kind.__name__)) as writer, pytest.raises(Exception) as caught:  # noqa: PT011
            writer.add_scalar(tag, value, step)
        raised.append(type(caught.value))
    assert raised[0] is raised[1]
