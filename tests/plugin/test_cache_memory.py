"""What the cache keeps, and who shares it."""

import threading

import numpy as np
import pytest

from tb_losslens.plugin.entry import run_nbytes
from tb_losslens.store.lists import Lists
from tb_losslens.store.run import Ragged, Run
from tests.plugin.shelf import Judge, Shelf, a_cache


@pytest.fixture
def judge():
    return Judge()


def test_arrays_stay_under_the_cap_and_the_least_recently_used_go_first(judge):
    shelf = Shelf(**{f"r{i}": 1000 for i in range(20)})
    one = sum(column.nbytes for column in shelf.read("r0").columns.values())
    shelf.reads.clear()
    cache = a_cache(shelf, judge, memory=3 * one)
    for i in range(20):
        cache.judged(f"r{i}")
        assert cache.nbytes() <= 4 * one  # the cap, and the run used last
    cache.run("r19"), cache.run("r17")
    assert len(shelf.reads) == 20  # recent ones are still there
    run, diagnosis = cache.judged("r0")
    assert shelf.reads[-1] == "r0"
    assert len(run) == diagnosis.batches
    assert len(judge.asked) == 20  # the diagnosis was kept
    assert {f"r{i}" for i in range(16)} <= set(shelf.forgotten)


def test_one_run_larger_than_the_cap_still_works(judge):
    cache = a_cache(Shelf(a=1000, b=1000), judge, memory=1)
    assert len(cache.run("a")) == len(cache.run("b")) == 1000
    assert cache.nbytes() <= cache.run("b").columns["loss"].nbytes * 2


def test_many_threads_share_one_reading_and_one_diagnosis(judge):
    shelf = Shelf(a=100, b=100)
    cache = a_cache(shelf, judge)
    failures = []

    def ask():
        try:
            for name in ("a", "b") * 10:
                cache.overview()
                assert cache.judged(name).diagnosis.run == name
                assert cache.run(name).name == name
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(judge.asked) == [("a", 100), ("b", 100)]
    assert sorted(shelf.reads) == ["a", "b"]


def test_lists_count_once_they_are_loaded():
    ids = Ragged(np.zeros(1000, np.int64), np.arange(0, 1001, 100))
    run = Run("a", {"loss": np.zeros(10)}, Lists({}, frozenset({"sample_ids"}), lambda: {"sample_ids": ids}))
    assert run_nbytes(run) == 80
    assert run.has("sample_ids")
    assert run_nbytes(run) == 80 + ids.values.nbytes + ids.offsets.nbytes


def test_runs_may_be_dropped_while_others_read_them(judge):
    """Eight threads over four runs and room for none: nobody ever gets nothing."""
    cache = a_cache(Shelf(**{f"r{i}": 100 + i for i in range(4)}), judge, memory=0)
    failures = []

    def ask(seed):
        try:
            for i in np.random.default_rng(seed).integers(0, 4, 200).tolist():
                assert len(cache.run(f"r{i}")) == 100 + i
                run, diagnosis = cache.judged(f"r{i}")
                assert len(run) == diagnosis.batches == 100 + i
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(judge.asked) == 4
