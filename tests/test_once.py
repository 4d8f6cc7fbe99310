"""A run that is made once is the one that would have been made, and each test has its own."""

import numpy as np
import torch

from tests.once import once
from tests.trainings import train


def test_a_training_that_was_kept_is_the_one_that_would_be_made_again():
    made = train.__wrapped__(epochs=2, data="gaussian", samples=200, per_sample=True)
    drawn = torch.rand(3)
    for _ in range(2):
        kept = train(epochs=2, data="gaussian", samples=200, per_sample=True)
        np.testing.assert_array_equal(torch.rand(3), drawn)
        assert kept.columns.keys() == made.columns.keys()
        for name, column in made.columns.items():
            np.testing.assert_array_equal(kept.columns[name], column, err_msg=name)
        for name, lists in made.ragged.items():
            np.testing.assert_array_equal(kept.ragged[name].values, lists.values, err_msg=name)
        assert (kept.events, kept.facts) == (made.events, made.facts)
        # what a test does to it is its own affair
        kept.columns["loss"][:] = 0
        kept.ragged["sample_ids"].values[:] = 0
        kept.facts.clear()
        kept.events[0].fields.clear()


def test_what_is_kept_depends_on_the_arguments_and_not_on_how_they_are_spelled():
    calls = []

    @once
    def made(name, seed=0, *, change=None, **options):
        calls.append((name, seed, options))
        return train.__wrapped__(epochs=1, data="gaussian", samples=100, seed=seed)

    runs = [made("a"), made("a", 0), made(name="a", seed=0, change=None)]
    assert len(calls) == 1
    assert len({run.loss.tobytes() for run in runs}) == 1
    assert made("a", 1).loss.tobytes() != runs[0].loss.tobytes()
    made("a", lr=0.1)
    made("a", True)  # equal to 1, and not the same
    assert len(calls) == 4
    for _ in range(2):
        made("a", change=lambda x: x)
    assert len(calls) == 6


def test_a_directory_is_no_reason_to_record_again_and_a_function_is_kept_by_what_it_is(tmp_path):
    calls = []

    @once
    def made(directory, change=None, shares=(1.0,), otherwise=lambda: None):
        calls.append(directory)
        return train.__wrapped__(epochs=1, data="gaussian", samples=100)

    made(tmp_path / "a")
    made(tmp_path / "b", None, (1.0,))
    assert calls == [tmp_path / "a"]
    of_module = test_a_training_that_was_kept_is_the_one_that_would_be_made_again
    for _ in range(2):
        made(tmp_path, of_module)
        made(tmp_path, shares=(1.0, 2.0))
    assert len(calls) == 3
    for _ in range(2):
        made(tmp_path, otherwise=lambda: None)
    assert len(calls) == 5
