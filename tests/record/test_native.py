"""The compiled half of the short way: it takes what is plain, leaves the rest to Python, and lets go of what it held."""

import gc
import subprocess
import sys
import threading
import warnings
import weakref
from array import array
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record import lane as lane_module
from tb_losslens.record import native, sampler_tap
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.sampler_tap import Tapped, Trail
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.training import loader, mlp, two_classes

pytestmark = pytest.mark.skipif(not native.available, reason="the package was built without a compiler for C")

LANE = lane_module.__file__


@pytest.fixture(autouse=True)
def sparse(monkeypatch):
    monkeypatch.setattr(Cadences, "next", lambda cadences, index, length: SPARSE)
    monkeypatch.setattr(Cadences, "ahead", 30)
    monkeypatch.setattr(Cadences, "skip", lambda cadences, rows, index: None)


class Loop:
    def __init__(self, logdir, *, batches=200, sampler=None, scalar=False):
        torch.manual_seed(0)
        self.writer = LossLensWriter(str(logdir))
        self.model, self.criterion, self.scalar = mlp(), nn.CrossEntropyLoss(), scalar
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.losses, self.batches = [], batches
        self.writer.watch(self.model, self.optimizer, criterion=self.criterion)
        data = two_classes(batches * 5)
        made = loader(data, 5, shuffle=True) if sampler is None else torch.utils.data.DataLoader(data, batch_sampler=sampler)
        self.loader = self.writer.wrap(made)

    def epoch(self):
        for inputs, targets in self.loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            if self.scalar:
                self.writer.add_scalar("Loss/train", self.losses[-1], len(self.losses))


def calls_in_python(epoch):
    """How often each Python function of lane.py is entered."""
    entered = Counter()

    def entry(frame, event, arg):
        if event == "call" and frame.f_code.co_filename == LANE:
            entered[frame.f_code.co_name] += 1

    sys.setprofile(entry)
    try:
        epoch()
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize("scalar", [False, True])
def test_plain_steps_are_taken_without_python(scalar, tmp_path, half):
    called = {}
    for compiled in (False, True):
        half(compiled)
        loop = Loop(tmp_path / str(compiled), scalar=scalar)
        loop.epoch()
        called[compiled] = calls_in_python(loop.epoch)
        loop.writer.close()
    events = {"pulled", "forward", "called", "step", "stepped"} | ({"scalar"} if scalar else set())
    assert all(called[False][name] > 190 for name in events)
    assert all(called[True][name] < 25 for name in events), called[True]
    one, other = (load_runs(tmp_path)[str(compiled)] for compiled in (False, True))
    assert set(one.columns) == set(other.columns)
    for name in set(one.columns) - {"time", "data_wait"}:
        np.testing.assert_array_equal(one.columns[name], other.columns[name], err_msg=name)
    np.testing.assert_array_equal(one.ragged["sample_ids"].values, other.ragged["sample_ids"].values)
    assert np.abs(other.float("time") - one.float("time")).max() < 3600
    assert (np.diff(other.float("time")) >= 0).all()


def test_nothing_is_held_once_a_step_is_over(tmp_path):
    loop = Loop(tmp_path)
    inputs, outputs = [], []
    loop.model.register_forward_hook(lambda module, args, output: inputs.append(weakref.ref(args[0])))
    loop.criterion.register_forward_hook(lambda module, args, output: outputs.append(weakref.ref(output)))
    loop.epoch()
    gc.collect()
    assert not [ref for ref in inputs if ref() is not None]
    assert not [ref for ref in outputs if ref() is not None]
    loop.writer.close()


def test_thousands_of_steps_leave_no_object_behind(tmp_path):
    """Each reference that one event forgot would be an object a step."""
    loop = Loop(tmp_path, batches=400, scalar=True)
    blocks, shared = [], []
    for _ in range(6):
        loop.epoch()
        loop.losses.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        held = loop.model, loop.criterion, loop.optimizer, loop.optimizer.param_groups
        shared.append([sys.getrefcount(one) for one in held])
    assert blocks[-1] - blocks[2] < 0.5 * 3 * 400, blocks
    assert shared[-1] == shared[2]
    loop.writer.close()


@pytest.mark.parametrize(
    "ids",
    [[3, 1, 2], [], [True, 2], [2**63], [-(2**63), 2**63 - 1], [1.5], ["a"], (1, 2), 7, None, [np.int64(4), 5]],
    ids=repr,
)
def test_ids_are_what_python_makes_of_them(ids, half):
    found = []
    for compiled in (False, True):
        half(compiled)
        trail = Trail()
        assert next(Tapped(iter([ids]), trail)) is ids
        taken = trail._queue.popleft()
        found.append((type(taken), None if taken is None else np.asarray(taken).tolist()))
    assert found[0] == found[1]
    assert isinstance(sampler_tap.array("q", [1]), array)


def test_a_loader_that_raises_and_one_that_ends(tmp_path, half):
    class Bad(list):
        def __iter__(self):
            yield [0, 1]
            yield [2, 3]
            raise OSError("the disk is gone")

    for compiled in (False, True):
        half(compiled)
        loop = Loop(tmp_path / str(compiled), batches=20, sampler=Bad())
        with pytest.raises(OSError, match="the disk is gone"):
            loop.epoch()
        iterator = iter(loop.writer.wrap([(torch.zeros(2, 8), torch.zeros(2, dtype=torch.long))] * 3))
        assert len(list(iterator)) == 3
        with pytest.raises(StopIteration):
            next(iterator)
        assert next(iterator, None) is None
        loop.writer.close()
    one, other = (load_runs(tmp_path)[str(compiled)] for compiled in (False, True))
    np.testing.assert_array_equal(one.loss, other.loss)


class Odd(nn.Module):
    """A module whose mode is asked of the user's own code."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs):
        return inputs

    @property
    def training(self):
        return self.answer()

    @training.setter
    def training(self, value):
        pass


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_code_of_the_user_that_a_look_at_the_model_calls(error, tmp_path, half):
    losses = {}
    for compiled in (False, True):
        half(compiled)
        loop = Loop(tmp_path / str(compiled))
        calls = [0]

        def answer(calls=calls):
            calls[0] += 1
            if error is not None and calls[0] == 150:
                raise error("asked too often")
            return True

        loop.model.add_module("odd", Odd(answer))
        outcome = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                loop.epoch()
                loop.epoch()  # at whose begin the new module is known
        except KeyboardInterrupt:
            outcome = "interrupted"
        loop.epoch()
        loop.writer.close()
        losses[compiled] = outcome, loop.losses, load_runs(tmp_path)[str(compiled)].loss.tolist()
    assert losses[False][0] == losses[True][0] == ("interrupted" if error is KeyboardInterrupt else None)
    if error is not KeyboardInterrupt:  # the halves ask at other moments of a step, so that this breaks off another batch
        assert losses[False][1] == losses[True][1]
    for _, done, stored in losses.values():
        assert len(stored) - len(done) <= 1
        assert set(np.float64(done)) <= set(stored)


def test_a_module_compiled_from_other_sources_is_left_alone():
    code = (
        "import tb_losslens.record._native as n; n.INTERFACE += 1\n"
        "from tb_losslens.record import native, lane\n"
        "print(native.available, type(vars(lane.Lane)['forward']).__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert out.stdout.split() == ["False", "function"]


def test_a_step_at_the_end_of_the_numbers(tmp_path, half):
    rows = {}
    for compiled in (False, True):
        half(compiled)
        loop = Loop(tmp_path / str(compiled), scalar=True)
        loop.epoch()
        loop.writer.add_scalar("Loss/train", 0.5, 2**63 - 1)
        loop.epoch()
        loop.writer.close()
        run = load_runs(tmp_path)[str(compiled)]
        assert (np.diff(run.step) > 0).all()
        assert run.step.max() < 10_000
        rows[compiled] = run.loss.tolist()
    assert rows[False] == rows[True]


def test_ids_with_code_of_their_own(half):
    class Index(list):
        def __array__(self, *args, **kwargs):
            raise RuntimeError("not now")

    for compiled in (False, True):
        half(compiled)
        trail, index = Trail(), Index([1, 2])
        assert next(Tapped(iter([index]), trail)) is index
        assert trail.next() is None


@pytest.mark.parametrize("compiled", [False, True])
def test_a_thread_that_logs_beside_the_training(compiled, tmp_path, half, monkeypatch):
    """What it does comes between any two instructions of the loop's own thread."""
    half(compiled)
    done = threading.Event()
    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for seed in range(6):
            loop, random = Loop(tmp_path / str(seed)), np.random.default_rng(seed)
            done.clear()

            def log(writer=loop.writer, random=random):
                while not done.wait(float(random.random()) * 0.01):
                    what = random.random()
                    if what < 0.4:
                        writer.flush()
                    elif what < 0.8:
                        writer.add_scalar("other", 0.5, 1)
                    else:
                        writer.add_text("a", "b")

            thread = threading.Thread(target=log)
            thread.start()
            for _ in range(2):
                loop.epoch()
            done.set()
            thread.join()
            assert loop.writer._guard.disabled == {}
            loop.writer.close()
            run = load_runs(tmp_path)[str(seed)]
            np.testing.assert_array_equal(run.loss, loop.losses)
            assert (np.diff(run.step) == 1).all()
            assert [len(ids) for ids in run.ragged["sample_ids"]] == [5] * len(loop.losses)
    finally:
        done.set()
        sys.setswitchinterval(kept)


def test_a_module_that_does_not_fit_is_one_warning():
    code = (
        "import tb_losslens.record.unusual as unusual, warnings\n"
        "unusual.Unusual = type('Unusual', (), {'__doc__': ''})\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    from tb_losslens.record import native\n"
        "print(native.available, len([one for one in said if 'does not fit' in str(one.message)]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert out.stdout.split() == ["False", "1"]
