"""The samples of one batch, against plain loops over all of them."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.batch_numbers import lacking, layers_of, numbers_of
from tb_losslens.analysis.batch_samples import classes_of, ids_of, run_mix, visits_of
from tb_losslens.store.run import Ragged, Run

EPOCHS, BATCHES, SIZE = 4, 10, 8


def run_of(*, shuffled: bool = True, losses: bool = True) -> Run:
    rng = np.random.default_rng(5)
    orders = [rng.permutation(BATCHES * SIZE) if shuffled else np.arange(BATCHES * SIZE) for _ in range(EPOCHS)]
    ids = [order[at : at + SIZE] for order in orders for at in range(0, BATCHES * SIZE, SIZE)]
    pairs = [np.stack(np.unique(each % 5, return_counts=True), axis=1) for each in ids]
    plain = Run.from_arrays(
        loss=rng.random(EPOCHS * BATCHES), grad_norm=rng.random(40), epoch_length=BATCHES, mine=np.arange(40.0)
    )
    ragged = {"sample_ids": Ragged.from_lists(ids), "classes": Ragged.from_lists(pairs)}
    if losses:
        ragged["per_sample"] = Ragged.from_lists([each / 80.0 for each in ids])
    table = [rng.random(3) if row % 4 == 0 else np.empty(0) for row in range(40)]
    ragged["layer_grad_norm"] = Ragged.from_lists(table)
    return Run("run", plain.columns, ragged, facts={"layers": ["a", "b", "c"]})


@pytest.mark.parametrize("losses", [True, False])
def test_visits_are_those_that_a_loop_finds(losses: bool) -> None:
    run = run_of(losses=losses)
    batch = 13
    mine = set(ids_of(run, batch).tolist())
    out = visits_of(run, batch)
    rows = list(zip(*out["columns"], strict=True))
    assert [row[0] for row in rows] == [0, 2, 3]
    for epoch, batches, most, at, loss in rows:
        held = [[i for i in ids_of(run, row).tolist() if i in mine] for row in range(epoch * BATCHES, (epoch + 1) * BATCHES)]
        assert batches == sum(bool(each) for each in held)
        assert most == max(map(len, held)) == len(held[at - epoch * BATCHES])
        each = [i / 80.0 if losses else run.loss[epoch * BATCHES + k] for k, found in enumerate(held) for i in found]
        assert loss == pytest.approx(np.mean(each))
    assert out["said"].startswith("Its 8 samples lie in ")


def test_the_same_batch_again_is_told() -> None:
    out = visits_of(run_of(shuffled=False), 3)
    assert out["said"] == "Its 8 samples came together in one batch in 3 of 3 other epochs."
    assert out["columns"][3] == [13, 23, 33]


def of_ids(ids: np.ndarray, length: int) -> Run:
    """A run of batches with the data set indices `ids`, shape (n, batch size), in epochs of `length` batches."""
    plain = Run.from_arrays(loss=np.ones(len(ids)), epoch_length=length)
    return Run("run", plain.columns, {"sample_ids": Ragged.from_lists(list(ids))})


def test_one_sample_that_comes_again_is_not_the_whole_batch() -> None:
    ids = np.arange(6 * 50 * 32).reshape(300, 32)
    for epoch in range(1, 6):
        ids[epoch * 50 + 7, 0] = ids[10, epoch]
    told = "1 of its 32 samples lies in 1 batch of another epoch (the median of 5, found in 5 other epochs)."
    assert visits_of(of_ids(ids, 50), 10)["said"] == told
    alone = np.tile(np.arange(50), 6)[:, None]
    assert visits_of(of_ids(alone, 50), 10)["said"] == "Its sample was seen in 5 of 5 other epochs."


def test_of_many_epochs_it_is_said_how_many_were_looked_through() -> None:
    ids = np.arange(900 * 4 * 2).reshape(3600, 2)
    out = visits_of(of_ids(ids, 4), 0)
    assert out["said"] == "None of its 2 samples was seen in the 200 looked through of 899 other epochs."
    assert out["epochs"] == 200
    ids = np.tile(np.arange(8).reshape(4, 2), (900, 1))
    assert visits_of(of_ids(ids, 4), 0)["said"] == (
        "Its 2 samples came together in one batch in 200 of the 200 looked through of 899 other epochs."
    )
    assert visits_of(of_ids(ids[:4], 4), 0)["said"].endswith("was seen in another epoch: none was recorded.")


def test_a_class_that_is_never_counted_is_no_error() -> None:
    pairs = Ragged.from_lists([np.array([[0, 5], [3, 0]]), np.array([[0, 5]])] * 20)
    run = Run("run", Run.from_arrays(loss=np.ones(40), epoch_length=10).columns, {"classes": pairs})
    assert [(each["class"], each["count"]) for each in classes_of(run, 0)] == [(0, 5)]


def test_classes_are_counted_against_the_run() -> None:
    run = run_of()
    assert run_mix(run).share == pytest.approx([0.2] * 5)
    found = classes_of(run, 7)
    names, count = np.unique(ids_of(run, 7) % 5, return_counts=True)
    assert {each["class"]: each["count"] for each in found if each["count"]} == dict(
        zip(names.tolist(), count.tolist(), strict=True)
    )
    distance = [abs(each["share"] - each["usual"]) for each in found]
    assert distance == sorted(distance, reverse=True)
    assert sum(each["share"] for each in found) == pytest.approx(1.0)


def test_layers_are_those_of_the_nearest_batch_that_was_read() -> None:
    run = run_of()
    out = layers_of(run, 9)
    assert (out["batch"], out["names"]) == (8, ["a", "b", "c"])
    assert out["value"] == pytest.approx(list(run.ragged["layer_grad_norm"][8]))
    others = np.stack([run.ragged["layer_grad_norm"][row] for row in range(0, 40, 4) if row != 8])
    assert out["usual"] == pytest.approx(np.median(others, axis=0).tolist())


def test_numbers_hold_the_users_own_and_what_is_lacking_has_its_line() -> None:
    run = run_of()
    told = {each["name"]: each for each in numbers_of(run, 20)}
    assert told["mine"]["value"] == 20.0
    assert set(told) == {"loss", "grad_norm", "mine"}
    assert {each["label"] for each in lacking(run)} == {"input mean"}
    bare = Run.from_arrays(loss=np.ones(5))
    assert {each["label"]: each["how"] for each in lacking(bare)}["sample ids"] == "train_loader = writer.wrap(train_loader)"


def test_a_batch_of_which_nothing_is_known() -> None:
    bare = Run.from_arrays(loss=np.ones(5))
    assert (classes_of(bare, 0), ids_of(bare, 0).tolist(), layers_of(bare, 0)["names"]) == ([], [], [])
    assert visits_of(bare, 0) == {
        "names": ["epoch", "batches", "most", "batch", "loss"],
        "columns": [[]] * 5,
        "epochs": 0,
        "said": "",
    }
