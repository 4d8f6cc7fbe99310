"""Every operation on the disk fails at some call, in a real training: the weights are the same, and one warning says why."""

import errno
import os
import threading
import warnings

import pytest

from tb_losslens.record.disk import locks, ring, sinks
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.fault_training import same, train

BATCHES = 12

OPERATIONS = [
    (ring, "os", "open"),
    (ring, "os", "posix_fallocate"),
    (ring, "os", "close"),
    (ring, "mmap", "mmap"),
    (locks, "fcntl", "flock"),
    (sinks, "os", "open"),
    (sinks, "os", "fstat"),
    (sinks, "os", "write"),
    (sinks, "os", "ftruncate"),
    (sinks, "os", "close"),
]


class Failing:
    """Stands for a module of which one function fails: at the call with number `at`, and at every later one if `on`."""

    def __init__(self, real, name, at, error, on):
        self.real, self.name, self.at, self.error, self.on = real, name, at, error, on
        self.calls = 0

    def __getattr__(self, name):
        found = getattr(self.real, name)
        return self._call if name == self.name else found

    def _call(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.at or (self.on and self.calls > self.at):
            raise OSError(self.error, os.strerror(self.error))
        return getattr(self.real, self.name)(*args, **kwargs)


@pytest.fixture(scope="module")
def plain():
    return train()


def watched(logdir):
    """Weights, and what was warned of in our name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = train(LossLensWriter(str(logdir / "run")))
    return weights, [str(one.message) for one in caught if "LossLens" in str(one.message)]


@pytest.mark.parametrize("on", [False, True], ids=["once", "from there on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize(("module", "inner", "name"), OPERATIONS, ids=lambda part: getattr(part, "__name__", part))
def test_an_operation_that_fails(module, inner, name, error, on, plain, tmp_path, monkeypatch):
    real = getattr(module, inner)
    for at in (1, 3):
        failing = Failing(real, name, at, error, on)
        monkeypatch.setattr(module, inner, failing)
        weights, said = watched(tmp_path / str(at))
        monkeypatch.setattr(module, inner, real)
        if failing.calls < at:
            break
        assert same(weights, plain)
        assert len(said) <= 1, said
        assert all(os.strerror(error) in text for text in said), said
        runs = load_runs(tmp_path / str(at)) if (tmp_path / str(at)).exists() else {}
        rows = len(runs["run"]) if "run" in runs else 0
        missing = sum(gap.batches for gap in runs["run"].gaps) if rows else BATCHES
        assert rows == BATCHES or (said and rows + missing == BATCHES)


def test_no_thread_can_be_started(plain, tmp_path, monkeypatch):
    """As in a container that may have no more of them."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    weights, said = watched(tmp_path)
    assert same(weights, plain)
    (text,) = said
    assert "can't start new thread" in text
    assert "the training goes on" in text
