"""Sorted data, shuffle buffers and half-way shuffles on real trainings, and the statistics below them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances  # an independent total variation

from tb_losslens.analysis.causes import incomplete_shuffle
from tb_losslens.analysis.content import apart, contents, known_shares, position_effect
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset
from tests.trainings import Order, train


def by_target(data: str) -> NDArray[np.int64]:
    return np.argsort(dataset(data, 1600)[1].numpy(), kind="stable")


def through_buffer(base: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """What a shuffle buffer hands out: a random one of `size` waiting samples, whose place the next one takes."""
    out, waiting = [], list(base[:size])
    for sample in base[size:]:
        place = rng.integers(len(waiting))
        out.append(waiting[place])
        waiting[place] = sample
    rng.shuffle(waiting)
    return np.array(out + waiting)


def halves(data: str) -> Order:
    """The first half of the classes (or targets) always comes first; each half is shuffled."""
    base = by_target(data)
    cut = len(base) // 2
    return lambda epoch, n, rng: np.concatenate([rng.permutation(base[:cut]), rng.permutation(base[cut:])])


@pytest.mark.parametrize(
    ("model", "data", "optimizer", "lr"),
    [("mlp", "gaussian", "momentum", 0.02), ("cnn", "digits", "adam", 0.002), ("lstm", "tokens", "adam", 0.003)],
)
def test_half_the_classes_first_explains_the_jump(model: str, data: str, optimizer: str, lr: float) -> None:
    run = train(model=model, data=data, optimizer=optimizer, lr=lr, epochs=10, order=halves(data))
    (finding,) = findings(incomplete_shuffle, run)
    assert (finding.kind, finding.strength) == ("fault", "likely")
    assert finding.explains_jump
    assert finding.boundaries == tuple(range(9))
    assert finding.share is not None
    assert finding.share > 0.6
    assert "10 of 10 epochs" in finding.evidence[0]
    assert finding.evidence[0].signal == "classes"


def test_targets_of_a_regression_in_halves() -> None:
    run = train(data="regression", optimizer="adam", lr=0.003, epochs=10, order=halves("regression"))
    (finding,) = findings(incomplete_shuffle, run)
    assert finding.explains_jump
    assert finding.evidence[0].signal == "target_mean"


def test_sorted_and_repeated_is_explained_by_the_sorting() -> None:
    """Both hold: the order is the same in each epoch, and it is sorted. The sorting makes the jump."""
    fixed = halves("gaussian")(0, 1600, np.random.default_rng(0))
    run = train(data="gaussian", optimizer="momentum", lr=0.02, epochs=10, order=lambda e, n, rng: fixed)
    found = {f.cause: f for f in diagnose(run).findings}
    assert found["incomplete_shuffle"].explains_jump
    assert not found["repeated_order"].explains_jump
    assert found["repeated_order"].strength == "proved"
    assert next(iter(found)) == "incomplete_shuffle"


def test_sorted_and_repeated_without_a_jump_is_one_verdict_with_the_sorting_first() -> None:
    """One class after the other: the loss moves inside the epochs as it does at their ends, and neither explains a jump."""
    run = train(data="gaussian", lr=0.05, epochs=6, order=lambda epoch, samples, rng: by_target("gaussian"))
    said = diagnose(run)
    assert [f.cause for f in said.findings if not f.explains_jump][:2] == ["incomplete_shuffle", "repeated_order"]
    assert "samples are not mixed" in said.verdict
    assert "And, proved: the order of samples is the same in 6 epochs" in said.verdict


@pytest.mark.parametrize(("data", "classes", "lr"), [("gaussian", 3, 3e-3), ("digits", 3, 2e-3), ("digits", 2, 2e-3)])
def test_what_the_order_does_inside_the_epochs_is_no_finding_of_its_own(data: str, classes: int, lr: float) -> None:
    """The last classes are alone in batches at the end of each epoch, and the loss rises where others begin."""
    order = np.argsort(dataset(data, 1600)[1].numpy() // classes, kind="stable")
    run = train(data=data, optimizer="adam", lr=lr, epochs=8, order=lambda epoch, n, rng: order)
    assert {f.cause for f in diagnose(run).findings} == {"incomplete_shuffle", "repeated_order"}


@pytest.mark.parametrize("size", [50, 300])
def test_a_shuffle_buffer_is_found_and_its_size_estimated(size: int) -> None:
    """The data set lies sorted by class on disk, so that ids follow the classes."""
    order = by_target("gaussian")
    run = train(data="gaussian", epochs=8, order=lambda e, n, rng: through_buffer(order, size, rng))
    place = np.argsort(order)  # sample id -> position on disk
    run = replace(run, ragged={**run.ragged, "sample_ids": replace_values(run.ragged["sample_ids"], place)})
    (finding,) = findings(incomplete_shuffle, run)
    line = next(text for text in finding.evidence if "mixed within about" in text)
    estimate = int(line.split("about ")[1].split()[0])
    assert size * 0.8 < estimate < size * 1.25
    assert f"mixes within about {estimate} of {run.facts['dataset_size']:,} samples now" in finding.fix


def replace_values(ids: Ragged, place: NDArray[np.int64]) -> Ragged:
    return Ragged(place[ids.values], ids.offsets)


def test_order_left_in_unsorted_data_is_possible_at_most() -> None:
    run = train(data="gaussian", epochs=8, order=lambda e, n, rng: through_buffer(np.arange(n), 100, rng))
    (finding,) = findings(incomplete_shuffle, run)
    assert (finding.strength, finding.detail, finding.explains_jump) == ("possible", "ids", False)


@pytest.mark.parametrize(("data", "batch_size"), [("digits", 8), ("gaussian", 64), ("regression", 32), ("tokens", 16)])
def test_a_full_shuffle_is_fine(data: str, batch_size: int) -> None:
    run = train(model="lstm" if data == "tokens" else "mlp", data=data, batch_size=batch_size, epochs=6)
    assert "blocks of neighbouring batches" in checked(incomplete_shuffle, run)


def test_batches_of_one_class_in_random_order_are_exchangeable() -> None:
    """Each batch is homogeneous, but where it comes says nothing: no trend over the epoch."""
    base = by_target("gaussian").reshape(-1, 32)
    run = train(data="gaussian", epochs=6, order=lambda e, n, rng: base[rng.permutation(len(base))].ravel())
    assert "blocks of neighbouring batches" in checked(incomplete_shuffle, run)


def test_one_sorted_epoch_among_shuffled_ones_is_named() -> None:
    base = by_target("gaussian")
    run = train(data="gaussian", epochs=8, order=lambda e, n, rng: base if e == 4 else rng.permutation(n))
    (finding,) = findings(incomplete_shuffle, run)
    assert "in epochs 4" in finding.text


def test_nothing_recorded_is_skipped_with_the_line_that_helps() -> None:
    run = Run.from_arrays(loss=np.random.default_rng(0).normal(1, 0.1, 200), epoch_length=50)
    assert skipped(incomplete_shuffle, run).how == "train_loader = writer.wrap(train_loader)"


def test_false_alarms_of_the_analysis_of_variance_are_as_rare_as_they_should_be() -> None:
    """On 400 shuffled epochs, p < 0.05 comes about as often as it says, and the effect is no more than a few percent."""
    rng = np.random.default_rng(3)
    labels = rng.choice(12, 1200, p=rng.dirichlet(np.ones(12)))
    low, effects = 0, []
    for _ in range(400):
        run = _labelled(labels[rng.permutation(1200)], 24)
        (content,) = contents(run)
        found = position_effect(content, run.float("batch_size"), run.epochs[0])
        low += found.p < 0.05
        effects.append(found.effect)
    assert low <= 32  # 20 expected, corrected for two block counts; 32 is 2.7 sigma above
    assert np.quantile(effects, 0.99) < 0.05


def test_shares_and_distance_agree_with_a_plain_count() -> None:
    labels = np.random.default_rng(1).integers(0, 5, 96)
    run = _labelled(labels, 24)
    shares = known_shares(run)
    plain = np.array([[np.mean(labels[a : a + 24] == c) for c in range(5)] for a in range(0, 96, 24)])
    assert np.allclose(shares, plain)
    (content,) = contents(run)
    twin = 0.5 * pairwise_distances(plain[:1], plain[1:], metric="manhattan")[0]
    assert np.allclose(apart(content, plain[1:] - plain[:1]), twin)


def _labelled(labels: NDArray[np.int64], size: int) -> Run:
    batches = labels.reshape(-1, size)
    pairs = [np.stack(np.unique(batch, return_counts=True), axis=1) for batch in batches]
    columns: dict[str, Any] = {"loss": np.ones(len(batches)), "batch_size": np.full(len(batches), size)}
    run = Run.from_arrays(epoch_length=len(batches), **columns)
    return replace(run, ragged={"classes": Ragged.from_lists(pairs)})


def test_one_batch_an_epoch_has_no_order() -> None:
    """Descent on the whole data set without shuffling: what lies where within the one batch changes nothing."""
    run = train(data="gaussian", batch_size=1600, epochs=20, order=lambda e, n, rng: np.arange(n))
    assert all(f.cause != "incomplete_shuffle" for f in diagnose(run).findings)
    assert not findings(incomplete_shuffle, run)
    quarters = train(data="gaussian", batch_size=400, epochs=20, order=lambda e, n, rng: through_buffer(np.arange(n), 100, rng))
    assert findings(incomplete_shuffle, quarters)


def test_one_pass_of_a_loader_that_does_not_shuffle_is_no_bad_shuffle() -> None:
    """The sampler of a loader that shuffles leaves an order; one that was told not to is asked what the order does."""
    (finding,) = findings(incomplete_shuffle, train(data="gaussian", epochs=1, order=lambda e, n, rng: np.arange(n)))
    assert finding.text.startswith("Shuffling leaves")
    said = skipped(incomplete_shuffle, train(data="gaussian", epochs=1, shuffle=False))
    assert said.why.startswith("the loader does not shuffle")
    order = by_target("gaussian")
    assert findings(incomplete_shuffle, train(data="gaussian", epochs=1, shuffle=False, order=lambda e, n, rng: order))


def test_blocks_in_random_order_are_said_to_jump_inside_the_epochs_too() -> None:
    """Ten blocks of the sorted data come in a new order each epoch: the boundary is one change of block among ten."""
    base = by_target("digits")

    def blocks(epoch: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        parts = np.array_split(base[base < n], 10)
        return np.concatenate([rng.permutation(parts[k]) for k in rng.permutation(10)])

    diagnosis = diagnose(train(data="digits", optimizer="sgd", lr=0.02, batch_size=16, epochs=8, order=blocks))
    finding = next(f for f in diagnosis.findings if f.cause == "incomplete_shuffle")
    assert not finding.explains_jump
    assert any("the content changes as well" in line for line in finding.against)
    assert "no larger than those inside the epochs" in diagnosis.verdict
    assert "beyond noise" not in diagnosis.verdict


def test_a_fixed_order_by_difficulty_is_why_the_loss_jumps() -> None:
    """Ids come in their order in every epoch, the loss rises with it, and each boundary takes it back."""
    rng = np.random.default_rng(0)
    row = np.arange(240)
    loss = 2 - 0.02 * (row // 30) + 0.04 * (row % 30) + 0.05 * rng.standard_normal(240)
    ids = [np.arange(8) + 8 * (k % 30) for k in range(240)]
    run = _in_order(Run.from_arrays(loss=loss, epoch_length=30), ids)
    found = diagnose(run).findings
    assert (found[0].cause, found[0].detail, found[0].explains_jump) == ("incomplete_shuffle", "ids", True)
    flat = _in_order(Run.from_arrays(loss=2 + 0.05 * rng.standard_normal(240), epoch_length=30), ids)
    assert "whether the data set is sorted" in next(s.why for s in diagnose(flat).skipped if s.cause == "incomplete_shuffle")


def _in_order(run: Run, ids: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> Run:
    offsets = np.arange(len(ids) + 1) * 8
    columns = {**run.columns, "batch_size": np.full(len(ids), 8.0)}
    return replace(run, columns=columns, ragged={"sample_ids": Ragged(np.concatenate(ids), offsets)})
