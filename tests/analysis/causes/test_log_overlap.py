"""Steps that go back, repeat or restart, against steps that rise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tb_losslens.analysis.causes import log_overlap
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.trainings import train


def with_steps(steps: np.ndarray, length: int = 50) -> Run:
    return Run.from_arrays(loss=np.random.default_rng(0).random(len(steps)), step=steps, epoch_length=length)


def test_rising_steps_are_fine_even_with_gaps() -> None:
    assert "from 0 to 1,996" in checked(log_overlap, with_steps(np.arange(500) * 4))


def test_a_restart_that_writes_again_is_proved_with_its_steps() -> None:
    (found,) = findings(log_overlap, with_steps(np.concatenate([np.arange(300), np.arange(250, 450)])))
    assert (found.kind, found.strength, found.detail) == ("artifact", "proved", "sessions")
    assert found.steps == (250,)
    assert not found.explains_jump
    assert "after step 299 comes step 250" in found.evidence[0]
    assert found.evidence[0].span == (299, 301)


def test_a_counter_that_restarts_with_each_epoch_is_told_apart() -> None:
    (found,) = findings(log_overlap, with_steps(np.arange(500) % 50))
    assert found.detail == "restarting_counter"
    assert found.boundaries == tuple(range(9))


def test_two_writers_at_once_repeat_steps() -> None:
    (found,) = findings(log_overlap, with_steps(np.repeat(np.arange(250), 2)))
    assert found.detail == "sessions"


def test_rows_that_a_newer_session_overtook_are_counted() -> None:
    sessions = ({"id": "a", "batches": 300}, {"id": "b", "batches": 200})
    resumed = replace(train(epochs=3), superseded=120, sessions=sessions)
    purged = replace(resumed, sessions=({}, {"first_step": 240}), facts={**resumed.facts, "purge_step": 240})
    assert "120 rows from step 240 on were purged" in checked(log_overlap, purged)
    (found,) = findings(log_overlap, resumed)
    assert "120 rows" in found.evidence[0]
    assert "2 sessions" in found.text
