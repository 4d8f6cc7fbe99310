"""Whatever goes wrong in LossLens or in front of it: the training ends with the weights that it has without LossLens."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.record.writer import LossLensWriter
from tests.record.fault_training import same, train

# --- each call into LossLens that the guard runs --------------------------------------------------------------------


def names(tmp_path):
    """Every name under which something runs in this training, in the order in which it comes up."""
    writer = LossLensWriter(str(tmp_path / "names"))
    found, call = {}, writer._guard.call

    def note(collector, function, *args):
        found[collector] = True
        return call(collector, function, *args)

    writer._guard.call = note
    train(writer)
    return list(found)


ERRORS = [MemoryError("no memory left"), RuntimeError("CUDA error: out of memory"), OSError(28, "No space left on device")]


def test_each_part_that_fails_is_one_warning_with_its_name_and_cause(tmp_path, monkeypatch):
    """With one error after the other: the guard has one way for all of them."""
    plain = train()
    known = names(tmp_path)
    assert len(known) > 15
    for number, name in enumerate(known):
        error = ERRORS[number % len(ERRORS)]
        writer = LossLensWriter(str(tmp_path / str(number)))
        call = writer._guard.call

        def fails(collector, function, *args, name=name, call=call, error=error):
            def broken(*_):
                raise error

            return call(collector, broken if collector == name else function, *args)

        monkeypatch.setattr(writer._guard, "call", fails)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            weights = train(writer)
        said = [
            str(one.message) for one in caught if "LossLens" in str(one.message) and type(error).__name__ in str(one.message)
        ]
        assert same(weights, plain), name
        assert len(said) == 1, (name, said)
        assert name in said[0]
        assert str(error) in said[0]


class OutOfMemory:
    """Raises MemoryError in the call of one of the package's functions with number `at`, inside a collector."""

    def __init__(self, guard, at=-1):
        self.guard, self.at = guard, at
        self.places = []

    def __call__(self, frame, event, arg):
        name = frame.f_globals.get("__name__", "")
        if name.startswith("tb_losslens.") and name != "tb_losslens.record.guard" and self.guard.busy:
            self.places.append(f"{name}.{frame.f_code.co_name}")
            if len(self.places) == self.at:
                raise MemoryError


def traced(logdir, at=-1):
    """Weights, where memory ran out, and every place where it could have."""
    writer = LossLensWriter(str(logdir))
    tracer = OutOfMemory(writer._guard, at)
    sys.settrace(tracer)
    try:
        return train(writer), tracer.places
    finally:
        sys.settrace(None)


def test_out_of_memory_anywhere_in_a_collector(tmp_path):
    plain = train()
    _, places = traced(tmp_path / "count")
    known = list(dict.fromkeys(places))
    assert len(known) > 200
    random = np.random.default_rng(0)
    for name in random.choice(known, 60, replace=False):
        at = random.choice([number for number, place in enumerate(places, 1) if place == name])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            weights, _ = traced(tmp_path / str(at), int(at))
        said = [str(one.message) for one in caught if "MemoryError" in str(one.message)]
        assert same(weights, plain), name
        assert len(said) <= 1, (name, said)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no directory here that nobody may write to")
def test_a_directory_that_nobody_may_write_to(tmp_path):
    plain = train()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = train(LossLensWriter("/proc/self/runs/x"))
    assert same(weights, plain)
    (said,) = [str(one.message) for one in caught if "LossLens" in str(one.message)]
    assert "/proc/self/runs/x" in said
    assert "the training goes on without a record" in said
