"""Parts of a jump whose truth is known, and the parts that must be left out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.decompose import batch_size_term, decompose, which_samples
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Ragged, Run, RunEvent
from tests.trainings import train

CLASS_LOSS = np.array([0.2, 1.0, 2.5])


def by_class(rng: np.random.Generator, *, skew: float = 0.0, noise: float = 0.02, length: int = 80) -> Run:
    """Batches of 64 whose loss is the mean of their classes' losses; at row 320 the next 5 hold more of class 2 by `skew`."""
    n = 8 * length
    loss, lists = np.empty(n), []
    for row in range(n):
        p = np.array([0.5, 0.3, 0.2])
        if 4 * length <= row < 4 * length + 5:
            p += skew * np.array([-1.0, 0.0, 1.0])
        counts = rng.multinomial(64, p)
        loss[row] = counts @ CLASS_LOSS / 64 + noise * rng.normal()
        lists.append(np.stack([[7, 8, 11], counts], axis=1))
    run = Run.from_arrays(loss=loss, epoch_length=length, batch_size=np.full(n, 64))
    return replace(run, ragged={"classes": Ragged.from_lists(lists)})


def true_composition(run: Run, row: int, m: int) -> float:
    counts = run.ragged["classes"].values[:, 1].reshape(-1, 3)
    share = counts / counts.sum(axis=1, keepdims=True)
    return float((share[row : row + m].mean(axis=0) - share[row - m : row].mean(axis=0)) @ CLASS_LOSS)


@pytest.mark.parametrize("skew", [0.0, 0.3])
def test_the_class_mix_accounts_for_what_it_brought(skew: float) -> None:
    run = by_class(np.random.default_rng(1), skew=skew)
    boundary = measure(run)[0][3]
    value, note = which_samples(run, boundary)
    assert value == pytest.approx(true_composition(run, boundary.batch, boundary.m), abs=0.02)
    assert "class mix" in note
    if skew:
        assert value == pytest.approx(boundary.jump, abs=0.05)


def test_a_class_mix_that_predicts_nothing_is_left_out() -> None:
    run = by_class(np.random.default_rng(2))
    run = replace(run, columns={**run.columns, "loss": np.random.default_rng(3).normal(size=len(run))})
    value, note = which_samples(run, measure(run)[0][3])
    assert value is None
    assert "makes no difference" in note


def test_classes_in_blocks_cannot_be_told_from_position() -> None:
    n, length = 640, 80
    low = np.arange(n) % length < length // 2
    lists = [np.array([[0, 60], [1, 4]]) if first else np.array([[0, 4], [1, 60]]) for first in low]
    loss = 1 + 0.5 * low + 0.01 * np.random.default_rng(4).normal(size=n)
    run = replace(Run.from_arrays(loss=loss, epoch_length=length), ragged={"classes": Ragged.from_lists(lists)})
    value, note = which_samples(run, measure(run)[0][3])
    assert value is None
    assert "cannot be told from when they came" in note


def test_per_sample_losses_tell_what_came_in_a_real_training() -> None:
    run = train(data="gaussian", model="linear", lr=0.02, epochs=6, per_sample=True, batch_size=16, samples=800)
    hidden = replace(run, ragged={k: v for k, v in run.ragged.items() if k != "per_sample"})
    left = []
    for boundary in measure(run)[0][1:-1]:
        value, note = which_samples(run, boundary)
        assert value is not None, note
        assert abs(boundary.jump - value) < abs(boundary.jump) + 0.02
        left.append((boundary.jump, boundary.jump - value))
    moved, rest = np.std(left, axis=0)
    assert rest < 0.3 * moved  # hard samples are hard in other epochs too: little is left of the noise
    assert which_samples(hidden, boundary)[1]


def test_batches_of_another_size_are_taken_out() -> None:
    rng = np.random.default_rng(5)
    loss = 1 + 0.01 * rng.normal(size=400)
    size = np.full(400, 32)
    size[39::40] = 3
    loss[39::40] += 2.0
    run = Run.from_arrays(loss=loss, epoch_length=40, batch_size=size)
    boundary = measure(run)[0][4]
    assert boundary.jump == pytest.approx(-0.4, abs=0.03)
    assert batch_size_term(run, boundary) == pytest.approx(-0.4, abs=0.03)
    assert batch_size_term(Run.from_arrays(loss=loss, epoch_length=40), boundary) is None


def finding(cause: str, share: float | None, boundaries: tuple[int, ...] = (4,), *, explains: bool = True) -> Finding:
    return Finding(cause, "fault", "proved", "t", "t", share=share, boundaries=boundaries, explains_jump=explains)


@pytest.mark.parametrize(
    "findings",
    [
        (),
        (finding("lr_increase", 0.84),),
        (finding("lr_increase", 0.84), finding("wrong_mode", 0.6)),
        (finding("repeated_order", 0.5, explains=False),),
        (finding("incomplete_shuffle", 0.7),),
        (finding("partial_last_batch", None),),
        (finding("lr_increase", 0.84, (1, 2)),),
    ],
)
def test_the_parts_add_up_to_the_jump(findings: tuple[Finding, ...]) -> None:
    run = train(epochs=8, drop_last=False, batch_size=50)
    boundary = measure(run)[0][4]
    terms, note = decompose(run, boundary, findings)
    assert note
    assert terms[-1].label == "jump"
    assert terms[-1].value == boundary.jump
    assert terms[-2].label == "not explained"
    assert math.fsum(t.value for t in terms[:-1]) == pytest.approx(boundary.jump, abs=1e-12)
    assert len({t.label for t in terms}) == len(terms)


def test_a_finding_gets_its_share_of_what_is_beyond_the_trend() -> None:
    run = train(epochs=8)
    boundary = measure(run)[0][4]
    terms, _ = decompose(run, boundary, (finding("lr_increase", 0.84),))
    assert terms[0].label == "LR step"
    assert (terms[0].kind, terms[0].cause) == ("fault", "lr_increase")
    assert terms[0].value == pytest.approx(0.84 * (boundary.jump - boundary.placebo_median))


def test_nothing_is_decomposed_where_nothing_was_measured() -> None:
    run = Run.from_arrays(loss=np.full(40, np.nan), epoch_length=10)
    boundary = diagnose(run).boundaries[0]
    assert decompose(run, boundary, ())[0] == ()


def class_losses(run: Run, by_row: np.ndarray) -> Run:
    """The run with sums of losses by class; `by_row` is the mean loss of each class in each batch, shape (n, 3)."""
    counts = run.ragged["classes"].values[:, 1].reshape(-1, 3)
    triples = np.stack([np.broadcast_to([7, 8, 11], counts.shape), counts, counts * by_row], axis=2)
    lists = [rows[rows[:, 1] > 0].ravel() for rows in triples]
    loss = (counts * by_row).sum(axis=1) / counts.sum(axis=1)
    ragged = {**run.ragged, "class_losses": Ragged.from_lists(lists)}
    return replace(run, columns={**run.columns, "loss": loss}, ragged=ragged)


def test_losses_by_class_tell_what_came_from_how_the_model_changed() -> None:
    run = by_class(np.random.default_rng(8), skew=0.2)
    n = len(run)
    harder = np.where(np.arange(n)[:, None] >= 320, CLASS_LOSS + 0.5, CLASS_LOSS)
    run = class_losses(run, harder)
    boundary = measure(run)[0][3]
    value, note = which_samples(run, boundary)
    assert value == pytest.approx(true_composition(run, boundary.batch, boundary.m), abs=1e-12)
    assert "by the losses of 3 classes; the same classes by themselves moved by +0.50" in note
    assert boundary.jump == pytest.approx(value + 0.5, abs=1e-12)


def test_losses_by_class_that_do_not_make_up_the_loss_are_left_to_the_mix() -> None:
    run = by_class(np.random.default_rng(9), skew=0.3)
    weighted = class_losses(run, np.broadcast_to(3 * CLASS_LOSS, (len(run), 3)))
    weighted = replace(weighted, columns=run.columns)
    value, note = which_samples(weighted, measure(run)[0][3])
    assert (value, note) == which_samples(run, measure(run)[0][3])
    assert "from the class mix" in note
    no_mix = replace(weighted, ragged={"class_losses": weighted.ragged["class_losses"]})
    assert "do not make up the loss" in which_samples(no_mix, measure(run)[0][3])[1]


def by_sources(rng: np.random.Generator, *, skew: bool, length: int = 80) -> Run:
    n = 8 * length
    source = rng.integers(0, 2, n).astype(np.float64)
    if skew:
        source[4 * length : 4 * length + 5] = [1, 1, 1, 1, 0]
        source[4 * length - 5 : 4 * length] = [0, 0, 1, 1, 0]
    loss = 1.0 + 0.6 * source + 0.02 * rng.normal(size=n)
    return Run.from_arrays(loss=loss, epoch_length=length, source=source)


def test_sources_of_data_account_for_what_they_brought() -> None:
    run = by_sources(np.random.default_rng(10), skew=True)
    boundary = measure(run)[0][3]
    terms, note = decompose(run, boundary, ())
    part = next(term for term in terms if term.label == "which source")
    assert part.value == pytest.approx(0.4 * 0.6, abs=0.02)
    assert "from the mix of sources" in note
    rest = next(term for term in terms if term.label == "not explained")
    assert rest.low < 0 < rest.high
    one = replace(run, columns={**run.columns, "source": np.zeros(len(run))})
    assert "source" not in decompose(one, boundary, ())[1]


def test_intervals_hold_the_truth_and_the_rest_has_its_own() -> None:
    held = {"which samples": 0, "jump": 0, "not explained": 0}
    for seed in range(60):
        run = by_class(np.random.default_rng(100 + seed), skew=0.3, noise=0.05)
        boundary = measure(run)[0][3]
        terms = {term.label: term for term in decompose(run, boundary, ())[0]}
        mix = 0.3 * (CLASS_LOSS[2] - CLASS_LOSS[0])
        truth = {"which samples": mix, "jump": mix, "not explained": -terms["trend"].value}
        for label, true in truth.items():
            assert terms[label].low <= terms[label].value <= terms[label].high
            held[label] += terms[label].low <= true <= terms[label].high
        assert terms["not explained"].high - terms["not explained"].low < 2 * (terms["jump"].high - terms["jump"].low)
    assert min(held.values()) >= 52


def test_a_share_that_is_stated_has_the_interval_of_the_jump() -> None:
    run = train(epochs=8)
    boundary = measure(run)[0][4]
    terms = {term.label: term for term in decompose(run, boundary, (finding("lr_increase", 0.5),))[0]}
    step, jump = terms["LR step"], terms["jump"]
    assert step.low <= step.value <= step.high
    assert 0.3 * (jump.high - jump.low) < step.high - step.low < 0.7 * (jump.high - jump.low)


def probed(run: Run, row: int, before: float, after: float, *, updates: int = 400) -> Run:
    def look(when: str, value: float, done: int) -> RunEvent:
        return RunEvent("probe", row, row, fields={"when": when, "train_batchstat": value, "train_eval": 9.0, "updates": done})

    return replace(run, events=(look("t0", before, 400), look("t1", after, updates)))


def test_the_probe_tells_a_model_that_was_touched() -> None:
    loss = 1 + 0.01 * np.random.default_rng(11).normal(size=640) + np.where(np.arange(640) >= 400, 0.5, 0.0)
    run = Run.from_arrays(loss=loss, epoch_length=80)
    boundary = measure(run)[0][4]
    terms, note = decompose(probed(run, 400, 1.1, 1.6), boundary, ())
    part = next(term for term in terms if term.label == "model touched")
    assert part.value == pytest.approx(0.5)
    assert math.isnan(part.low)
    assert "from 1.1 to 1.6 without an update" in note
    swapped = replace(finding("weights_swapped", 0.9))
    terms, _ = decompose(probed(run, 400, 1.1, 1.6), boundary, (swapped,))
    assert [(t.value, t.cause) for t in terms if t.label == "model touched"] == [(pytest.approx(0.5), "weights_swapped")]


def test_the_probe_of_an_untouched_model_says_so_and_one_with_an_update_between_says_nothing() -> None:
    run = Run.from_arrays(loss=1 + 0.01 * np.random.default_rng(12).normal(size=640), epoch_length=80)
    boundary = measure(run)[0][4]
    terms, note = decompose(probed(run, 400, 1.1, 1.1), boundary, ())
    assert "the model is as it was, the loss of a fixed batch stays at 1.1" in note
    assert "model touched" not in {term.label for term in terms}
    assert "probe" not in decompose(probed(run, 400, 1.1, 1.6, updates=401), boundary, ())[1].lower()


def test_too_few_batches_have_parts_and_no_intervals() -> None:
    run = Run.from_arrays(loss=np.random.default_rng(13).normal(5, 1, 96), epoch_length=8)
    boundary = measure(run)[0][4]
    assert boundary.m < 3
    terms, note = decompose(run, boundary, ())
    assert "No intervals" in note
    assert all(math.isnan(term.low) for term in terms)
