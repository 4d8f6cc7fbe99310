"""A loss that is thrown off in a batch of other data says nothing of the learning rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tb_losslens.analysis.own_data import other_mode, own_data
from tb_losslens.store.run import Ragged, Run, RunEvent
from tests.analysis.series import healthy


def _of_classes(*batches: list[list[int]]) -> Run:
    rng = np.random.default_rng(1)
    run = healthy(rng)
    mixed = [[[label, int(count)] for label, count in enumerate(rng.multinomial(32, [0.25] * 4)) if count] for _ in run.loss]
    for row, batch in enumerate(batches):
        mixed[60 + row] = batch
    lists = Ragged.from_lists([np.array(pairs, dtype=np.int64) for pairs in mixed])
    columns = {**run.columns, "batch_size": np.full(len(run), 32), "class_rest": np.zeros(len(run), dtype=np.int64)}
    return replace(run, columns=columns, ragged={**run.ragged, "classes": lists})


def test_inputs_far_from_the_usual() -> None:
    rng = np.random.default_rng(0)
    run = healthy(rng)
    spread = 1 + 0.01 * rng.normal(size=len(run))
    spread[60] = 9.0
    run = replace(run, columns={**run.columns, "input_std": spread})
    assert own_data(run, 59) == ""
    assert own_data(run, 60).startswith("the spread of its inputs lies ")
    assert own_data(run, 61).endswith("at step 60"), "the update that came of it is what throws the loss off"
    assert own_data(run, 62) == ""


def test_a_batch_of_one_class() -> None:
    run = _of_classes([[2, 32]])
    assert own_data(run, 59) == ""
    assert "100\u202f% of the samples of step 60 are of one class" in own_data(run, 60)
    assert own_data(_of_classes([[2, 24], [1, 8]]), 60) == "", "three quarters may be chance in small batches"


def test_a_run_of_one_class_has_no_other_batches() -> None:
    run = _of_classes()
    lists = Ragged.from_lists([np.array([[0, 31], [1, 1]], dtype=np.int64)] * len(run))
    assert own_data(replace(run, ragged={"classes": lists}), 60) == ""


def test_nothing_is_known() -> None:
    assert own_data(healthy(np.random.default_rng(2)), 0) == ""


def test_another_mode_than_that_of_the_begin() -> None:
    run = healthy(np.random.default_rng(3))
    mode = np.where(np.arange(len(run)) < 60, 1.0, 0.0)
    lapsed = replace(run, columns={**run.columns, "train_mode": mode})
    assert other_mode(lapsed, 59) == ""
    assert other_mode(lapsed, 60) == "the model is not in the mode that it began in"
    assert other_mode(replace(run, columns={**run.columns, "train_mode": np.zeros(len(run))}), 60) == "", "fine-tuned in it"


def test_a_mode_that_nobody_recorded() -> None:
    validated = (RunEvent("validation_end", 50, fields={}),)
    run = replace(healthy(np.random.default_rng(4)), events=validated, facts={"model": {"batchnorm": 1, "dropout": 0}})
    assert other_mode(run, 49) == "", "no validation came before"
    assert "was not recorded" in other_mode(run, 50)
    assert other_mode(replace(run, facts={"model": {"batchnorm": 0, "dropout": 0}}), 50) == "", "both modes are one"
