"""Trainings that are killed: each counts in shared memory what has returned, so that nothing acknowledged can be forgotten."""

import mmap
import signal
import time

import numpy as np
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer

from tb_losslens.store.logdir import load_runs
from tb_losslens.store.provider import ProviderSource

HEAD = """
import mmap, os, signal, sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
from tb_losslens.record.writer import LossLensWriter
logdir, counter = sys.argv[1:3]
done = memoryview(mmap.mmap(os.open(counter, os.O_RDWR), 8)).cast("q")  # outlives the process, also kill -9

def say(batches):
    done[0] = batches  # one store: never half a number
"""

LOG = """
writer = LossLensWriter(logdir)
begin, batch = time.perf_counter(), 0
while True:
    writer.log_batch(batch / 8, step=batch, epoch=batch // 300, mine=-batch, sample_ids=range(batch, batch + 3))
    batch += 1
    say(batch)
    ahead = begin + batch / 2000 - time.perf_counter()
    if ahead > 0:
        time.sleep(ahead)
"""

HOOKS = """
model, criterion = nn.Linear(4, 2), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
writer = LossLensWriter(logdir)
writer.watch(model, optimizer, criterion=criterion)
data = TensorDataset(torch.randn(400, 4), torch.zeros(400, dtype=torch.long))
loader = writer.wrap(DataLoader(data, 4, shuffle=True))
batch = 0
while True:
    for inputs, targets in loader:
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        batch += 1
        say(batch)
"""

SHORT = (
    """
from tb_losslens.record import cadence
cadence.GRANT = cadence.DEEP_GRANT = 0.001  # hardly a row is dense,
cadence.SHARE = cadence.MOST = 1e-9  # however long its step takes
"""
    + HOOKS
)

CHUNK_SECONDS = 0.5
"""How long the rows of a young run may wait for their chunk (`SHORTEST` in record/disk/session.py)."""


class Counted:
    """A script that was started by a `Server`, with the number of batches that it said to be done."""

    def __init__(self, server, directory, body):
        directory.mkdir()
        self.logs = directory / "logs"
        counter = directory / "counter"
        counter.write_bytes(bytes(8))
        with counter.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
        self.script = server.start(directory, HEAD + body, str(self.logs / "run"), str(counter))

    @property
    def done(self):
        return self._words[0]

    def wait_for(self, batches, seconds=20):
        end = time.monotonic() + seconds
        while self.done < batches:
            assert time.monotonic() < end, self.script.err.read_text()
            time.sleep(0.0005)

    def kill(self):
        """Kills it with signal 9; when that was, and how many batches were done."""
        when = time.time()
        self.script.send(signal.SIGKILL)
        self.script.finish(-signal.SIGKILL)
        return when, self.done

    def run(self):
        """The run as it is read from the files, None if there is none."""
        return load_runs(self.logs).get("run") if self.logs.exists() else None

    def through_tensorboard(self):
        """The run as TensorBoard's own provider gives it, without a look at the log directory; None if it has none."""
        multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(self.logs))
        multiplexer.Reload()
        source = ProviderSource(data_provider.MultiplexerDataProvider(multiplexer, str(self.logs)), context.RequestContext())
        return source.read("run") if source.tokens() else None


def check_logged(run, done):
    """Every batch of LOG that was done is there, once, with what was given; at most the one that was being logged more."""
    rows = 0 if run is None else len(run)
    assert done <= rows <= done + 1, f"{done} batches were done, {rows} are there"
    if run is None:
        return
    n = np.arange(rows)
    for name, expected in (("step", n), ("loss", n / 8), ("mine", -n), ("epoch", n // 300)):
        np.testing.assert_array_equal(run.float(name), expected, name)
    ids = run.ragged["sample_ids"].values.reshape(-1, 3) if rows else np.empty((0, 3))
    np.testing.assert_array_equal(ids, n[:, None] + np.arange(3))
    check_problems(run)


def check_problems(run):
    """There are none, but for a file that was made and never written to: killed between the two, before any batch."""
    made = not len(run) and len(run.problems) == 1 and "holds no complete event (0 bytes)" in run.problems[0]
    assert made or run.problems == (), run.problems


def check_hooks(run, done):
    """The same of HOOKS, whose numbers are those of a training."""
    rows = 0 if run is None else len(run)
    # until two rows have shown that no scalar will be their loss, the newest waits for the next to begin
    assert done - (done <= 2) <= rows <= done + 1, f"{done} batches were done, {rows} are there"
    if run is None:
        return
    n = np.arange(rows)
    np.testing.assert_array_equal(run.step, n)
    np.testing.assert_array_equal(run.float("epoch"), n // 100)
    np.testing.assert_array_equal(run.float("index"), n % 100)
    assert np.isfinite(run.loss[:done]).all()
    check_problems(run)
    if not rows:  # killed between the begin of the epoch and its first row
        return
    ids = run.ragged["sample_ids"]
    assert [len(ids[row]) for row in range(rows)] == [4] * rows
    for epoch in range(rows // 100):
        seen = np.sort(ids.values[400 * epoch : 400 * (epoch + 1)])
        np.testing.assert_array_equal(seen, np.arange(400))


def check_short(run, done):
    """The same of SHORT, whose rows are nearly all sparse, so that they went the short way."""
    check_hooks(run, done)
    if run is not None and len(run) > 300:
        assert np.mean(run.float("dense")[100:] == 0) > 0.8


def late_in_file(run, killed_at, file_run):
    """Batches older than a chunk interval, when the process died, that TensorBoard does not have."""
    times = run.float("time")
    there = 0 if file_run is None else len(file_run)
    return times[there:][times[there:] < killed_at - CHUNK_SECONDS]
