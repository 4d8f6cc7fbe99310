"""Runs in memory, a judge that can be held up and a clock, for tests of the cache."""

import threading

import numpy as np

from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.plugin.cache import RunCache
from tb_losslens.store.run import Run


class Shelf:
    """Runs in memory that a test lets grow; counts how often each is read."""

    def __init__(self, **lengths):
        self.lengths = dict(lengths)
        self.live = set()
        self.closed = set()
        self.reads = []
        self.forgotten = []
        self.broken = set()

    def tokens(self):
        return dict(self.lengths)

    def forget(self, name):
        self.forgotten.append(name)

    def read(self, name):
        self.reads.append(name)
        if name in self.broken:
            raise OSError("disk on fire")
        run = Run.from_arrays(name, loss=np.ones(self.lengths[name]))
        return Run(name, run.columns, live=name in self.live, sessions=({"closed": name in self.closed},))


def a_cache(*arguments, **more):
    return RunCache(*arguments, **{"list_every": 0.0, **more})


class Judge:
    def __init__(self):
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, run):
        self.gate.wait(10)
        self.asked.append((run.name, len(run)))
        return Diagnosis(run.name, f"{len(run)} batches", "benign", batches=len(run))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now
