
import numpy as np
import pytest

from tb_losslens.analysis.finding import Diagnosis
from tests.plugin.shelf import Clock, Judge, Shelf, a_cache


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture
def clock():
    return Clock()


def test_the_overview_never_waits_and_fills_in_the_background(judge):
    judge.gate.clear()
    cache = a_cache(Shelf(b=3, a=2), judge)
    pending = cache.overview()
    again = cache.overview()
    assert not judge.asked  # the judge still waits, and nobody for it
    assert list(pending) == list(again) == ["a", "b"]
    assert all(seen.diagnosis is None for seen in again.values())
    judge.gate.set()
    assert cache.wait(5)
    assert [seen.diagnosis.verdict for seen in cache.overview().values()] == ["2 batches", "3 batches"]
    assert sorted(judge.asked) == [("a", 2), ("b", 3)]  # asked twice, diagnosed once


def test_nothing_is_read_or_judged_again_while_nothing_changes(judge, clock):
    shelf = Shelf(a=4)
    cache = a_cache(shelf, judge, clock=clock)
    for _ in range(5):
        clock.now += 100
        cache.overview()
        cache.wait()
        assert cache.judged("a").diagnosis.batches == len(cache.run("a")) == 4
    assert shelf.reads == ["a"]
    assert judge.asked == [("a", 4)]


def test_a_growing_run_is_read_at_once_but_judged_at_most_every_few_seconds(judge, clock):
    shelf = Shelf(a=10)
    cache = a_cache(shelf, judge, every=5.0, clock=clock)
    for second in range(20):
        clock.now += 1
        shelf.lengths["a"] = 10 + second
        cache.overview()
        cache.wait()
        assert len(cache.run("a")) == 10 + second
        run, diagnosis = cache.judged("a")
        assert len(run) == diagnosis.batches  # the two belong together, older than the newest rows or not
    assert [n for _, n in judge.asked] == [10, 15, 20, 25]


def test_a_slow_diagnosis_takes_at_most_a_tenth_of_the_time(clock):
    asked = []

    def slow(run):
        clock.now += 3.0
        asked.append(clock.now)
        return Diagnosis(run.name, "", "benign", batches=len(run))

    shelf = Shelf(a=1)
    cache = a_cache(shelf, slow, every=5.0, clock=clock)
    for _ in range(100):
        clock.now += 1
        shelf.lengths["a"] += 1
        cache.overview()
        cache.wait()
    assert np.diff(asked).min() >= 30.0


def test_live_ends_when_nothing_was_written_for_a_while(judge, clock):
    shelf = Shelf(a=5)
    shelf.live.add("a")
    cache = a_cache(shelf, judge, live_for=60.0, clock=clock)
    cache.overview()
    cache.wait()
    assert cache.overview()["a"].live
    clock.now += 61
    assert not cache.overview()["a"].live


def test_an_old_run_counts_as_live_while_tensorboard_is_still_loading_it(judge, clock):
    shelf = Shelf(a=5)
    cache = a_cache(shelf, judge, clock=clock)
    cache.overview()
    cache.wait()
    assert not cache.overview()["a"].live
    shelf.lengths["a"] = 50
    clock.now += 10
    assert cache.overview()["a"].live
    cache.wait()
    shelf.closed.add("a")
    shelf.lengths["a"] = 60
    clock.now += 10
    cache.overview()
    cache.wait()
    assert not cache.overview()["a"].live  # its last record says that it ended


def test_the_list_of_runs_is_asked_for_once_for_all_requests_of_a_moment(judge, clock):
    shelf = Shelf(a=5)
    cache = a_cache(shelf, judge, clock=clock, list_every=0.5)
    assert len(cache.run("a")) == 5
    shelf.lengths.update(a=6, b=1)
    assert len(cache.run("a")) == 5
    assert list(cache.overview()) == ["a"]
    clock.now += 0.5
    assert len(cache.run("a")) == 6
    assert list(cache.overview()) == ["a", "b"]


def test_a_run_that_cannot_be_read_says_so_and_holds_up_no_other(judge, clock):
    shelf = Shelf(a=1, b=2)
    shelf.broken.add("a")
    cache = a_cache(shelf, judge, clock=clock)
    cache.overview()
    cache.wait()
    seen = cache.overview()
    assert "disk on fire" in seen["a"].trouble
    assert seen["b"].diagnosis.batches == 2
    cache.overview()
    cache.wait()
    assert shelf.reads.count("a") == 1  # not in a loop
    shelf.broken.clear()
    shelf.lengths["a"] = 3
    clock.now += 10
    cache.overview()
    cache.wait()
    assert cache.overview()["a"].trouble == ""
    assert cache.overview()["a"].diagnosis.batches == 3


def test_runs_that_do_not_exist_or_vanish(judge):
    shelf = Shelf(a=1)
    cache = a_cache(shelf, judge)
    assert cache.run("nope") is None
    assert cache.judged("nope") is None
    assert cache.judged("a") is not None
    del shelf.lengths["a"]
    assert cache.overview() == {}
    assert cache.run("a") is None


def test_a_long_diagnosis_does_not_hold_up_the_timeline(judge):
    judge.gate.clear()
    cache = a_cache(Shelf(a=7), judge)
    cache.overview()
    assert len(cache.run("a")) == 7
    assert not judge.asked
    judge.gate.set()
    assert cache.wait(5)


def test_a_diagnosis_that_fails_is_tried_again_when_somebody_asks(clock):
    answers = iter([ValueError("odd run"), Diagnosis("a", "fine", "benign")])

    def moody(_run):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = a_cache(Shelf(a=1), moody, clock=clock)
    with pytest.raises(ValueError, match="odd run"):
        cache.judged("a")
    assert cache.judged("a").diagnosis.verdict == "fine"


def test_a_run_is_settled_once_it_was_diagnosed_as_it_is():
    shelf, judge, clock = Shelf(a=3), Judge(), Clock()
    cache = a_cache(shelf, judge, clock=clock)
    assert cache.settled("a") is None
    assert cache.settled("gone") is None
    cache.judged("a")
    assert cache.settled("a") == 3
    shelf.lengths["a"] = 4  # it grew: what was said of three batches no longer holds
    assert cache.settled("a") is None
    cache.judged("a")  # too soon for another diagnosis
    assert cache.settled("a") is None
    clock.now += 100
    cache.judged("a")
    assert cache.settled("a") == 4
    del shelf.lengths["a"]
    assert cache.settled("a") is None


def test_a_run_that_cannot_be_read_is_not_settled():
    shelf = Shelf(a=3)
    cache = a_cache(shelf, Judge())
    shelf.broken.add("a")
    cache.overview()
    assert cache.wait()
    assert cache.settled("a") is None


def test_the_version_of_a_run_is_another_as_soon_as_it_has_grown(judge):
    shelf = Shelf(a=3, b=3)
    cache = a_cache(shelf, judge)
    before = cache.overview()
    shelf.lengths["a"] = 4
    judge.gate.clear()  # long before that is judged
    after = cache.overview()
    judge.gate.set()
    assert after["a"].version != before["a"].version
    assert after["b"].version == before["b"].version
    assert cache.wait(5)
