"""The order of samples over the epochs, with ids and without, on real trainings."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.causes import repeated_order
from tb_losslens.analysis.engine import build_context
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset
from tests.trainings import train


def once(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffled once before the training, or the generator seeded again in each epoch."""
    return np.random.default_rng(7).permutation(samples)


def nearly_once(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One order, in which each epoch swaps two samples."""
    order = once(epoch, samples, rng)
    a, b = rng.integers(0, samples, 2)
    order[[a, b]] = order[[b, a]]
    return order


def with_loader(run: Run, **facts: Any) -> Run:
    events = tuple(
        replace(e, fields={**e.fields, "loader": {**e.fields["loader"], **facts}}) if e.kind == "epoch_end" else e
        for e in run.events
    )
    return replace(run, events=events)


def without_ids(run: Run) -> Run:
    hidden = {"order_hash": None, "set_hash": None, "first_ids": [], "last_ids": []}
    events = tuple(replace(e, fields={**e.fields, **hidden}) if e.kind == "epoch_end" else e for e in run.events)
    return replace(run, events=events, ragged={k: v for k, v in run.ragged.items() if k != "sample_ids"})


@pytest.mark.parametrize(
    ("model", "data", "optimizer", "lr"), [("mlp", "gaussian", "momentum", 0.02), ("lstm", "tokens", "adam", 0.003)]
)
def test_one_order_for_all_epochs_is_proved(model: str, data: str, optimizer: str, lr: float) -> None:
    run = train(model=model, data=data, optimizer=optimizer, lr=lr, epochs=10, order=once)
    (finding,) = findings(repeated_order, run)
    assert (finding.kind, finding.strength) == ("fault", "proved")
    assert finding.boundaries == tuple(range(9))
    assert finding.steps == tuple(e.first for e in run.epochs[1:])
    assert "the same in 10 epochs" in finding.text
    assert "9 of 9 pairs" in finding.evidence[0]
    assert any(f"begin with samples {run.epochs[0].fields['first_ids'][0]:,}" in line for line in finding.evidence)


def test_the_advice_is_for_the_loader_of_the_epochs_that_repeat() -> None:
    def off_then_on(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.arange(samples) if epoch < 4 else rng.permutation(samples)

    run = train(data="gaussian", optimizer="momentum", lr=0.02, epochs=10, order=off_then_on)
    facts = [{"sampler": "SequentialSampler" if k < 4 else "RandomSampler", "shuffle": k >= 4} for k in range(10)]
    ends = iter(facts)
    events = tuple(replace(e, fields={**e.fields, "loader": next(ends)}) if e.kind == "epoch_end" else e for e in run.events)
    (finding,) = findings(repeated_order, replace(run, events=events))
    assert "the same in 4 epochs, 0 to 3" in finding.text
    assert "was shuffle=False" in finding.fix
    assert any("shuffle=False" in line for line in finding.against)


def test_a_step_that_any_place_in_the_epoch_has_is_explained() -> None:
    """Without ids the boundaries look like many observations; under one order their steps are as all others in the epoch."""
    run = without_ids(train(data="gaussian", optimizer="momentum", lr=0.02, epochs=12, order=once))
    (finding,) = findings(repeated_order, run)
    assert build_context(run).pooled.direction == -1
    assert finding.explains_jump
    assert finding.share is not None
    assert finding.share > 0.5
    assert any("elsewhere in the epoch" in line for line in finding.evidence)


def test_with_ids_one_order_is_one_observation_and_no_jump() -> None:
    run = train(data="gaussian", optimizer="momentum", lr=0.02, epochs=12, order=once)
    (finding,) = findings(repeated_order, run)
    assert not finding.explains_jump
    assert any("no more than at cuts inside the epochs" in line for line in finding.against)


def test_sorted_samples_are_named_as_what_makes_the_jump() -> None:
    targets = dataset("gaussian", 1600)[1].numpy()
    base, rng = np.argsort(targets, kind="stable"), np.random.default_rng(0)
    halves = np.concatenate([rng.permutation(base[:800]), rng.permutation(base[800:])])
    run = train(data="gaussian", optimizer="momentum", lr=0.02, epochs=10, order=lambda e, n, rng: halves)
    (finding,) = findings(repeated_order, run)
    assert finding.strength == "proved"
    assert not finding.explains_jump
    assert any("class mix" in line for line in finding.against)


@pytest.mark.parametrize(("model", "data"), [("mlp", "digits"), ("linear", "gaussian")])
def test_a_new_order_each_epoch_is_fine(model: str, data: str) -> None:
    assert "differs in all 7 pairs" in checked(repeated_order, train(model=model, data=data, epochs=8))


def test_an_order_that_is_nearly_the_same_is_no_proof() -> None:
    assert "differs in all 7 pairs" in checked(repeated_order, train(epochs=8, order=nearly_once))


def test_only_the_epochs_that_repeat_are_named() -> None:
    """The training is resumed twice, and each time the sampler starts again."""
    run = train(epochs=8, order=lambda e, n, rng: np.random.default_rng(max(e, 4) if e < 6 else e).permutation(n))
    (finding,) = findings(repeated_order, run)
    assert finding.boundaries == (0, 1, 2, 3)


@pytest.mark.parametrize("begins", [4, 3])
def test_a_process_that_shuffles_from_the_seed_of_the_one_before(begins: int) -> None:
    """Epochs 4 and 5 have the orders of 0 and 1."""
    run = train(epochs=7, order=lambda e, n, rng: np.random.default_rng(e % 4 if e < 6 else e).permutation(n))
    row = run.epochs[begins].first
    sessions = ({"id": "a", "first_step": 0, "start": 0.0}, {"id": "b", "first_step": int(run.step[row]), "start": 1.0})
    (finding,) = findings(repeated_order, replace(run, sessions=sessions))
    assert finding.title == "A new process repeats the orders of the one before"
    assert f"goes on at step {run.step[row]:,}" in finding.fix
    (within,) = findings(repeated_order, run)
    assert within.title == "Same order of samples each epoch"


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (
            {"shuffle": False, "sampler": "SequentialSampler"},
            "writer.wrap(DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True))     # was shuffle=False",
        ),
        ({"shuffle": True, "sampler": "RandomSampler"}, "generator=generator"),
        ({"shuffle": True, "sampler": "DistributedSampler"}, "train_loader.sampler.set_epoch(epoch)"),
        ({"shuffle": None, "sampler": "MySampler"}, "shuffle=True, drop_last=True))     # in place of sampler=MySampler(...)"),
    ],
)
def test_the_repair_fits_the_loader(facts: dict[str, Any], code: str) -> None:
    (finding,) = findings(repeated_order, with_loader(train(model="linear", epochs=4, order=once), **facts))
    assert code in finding.fix


def test_a_hundred_thousand_short_epochs_take_seconds() -> None:
    rng = np.random.default_rng(0)
    epochs, length = 100_000, 2
    begins = [RunEvent("epoch_begin", e * length, e * length, 0.0, "", {"epoch": e}) for e in range(epochs)]
    columns: dict[str, Any] = {
        "loss": rng.gamma(2.0, 1.0, epochs * length), "step": np.arange(epochs * length),
        "epoch": np.repeat(np.arange(epochs), length), "batch_size": np.full(epochs * length, 32),
    }  # fmt: skip
    run = Run("run", columns, {}, tuple(begins), {})
    context = build_context(run)
    began = time.perf_counter()
    assert repeated_order.find(context).cause == "repeated_order"
    assert time.perf_counter() - began < 5


def test_one_batch_an_epoch_means_nothing() -> None:
    run = train(data="gaussian", samples=64, batch_size=64, epochs=20, shuffle=False)
    assert "single batch" in skipped(repeated_order, run).why


def test_an_order_kept_for_carried_state_is_on_purpose() -> None:
    run = train(model="lstm", data="tokens", epochs=4, shuffle=False)
    carried = replace(run, columns={**run.columns, "hidden_norm": np.full(len(run), 1.7)})
    assert "on purpose" in checked(repeated_order, carried)


def test_an_epoch_left_early_is_compared_by_its_ids() -> None:
    run = train(model="linear", epochs=3, order=once)
    cut = tuple(
        replace(e, fields={**e.fields, "complete": False, "order_hash": f"{e.batch:016x}"}) if e.kind == "epoch_end" else e
        for e in run.events
    )
    (finding,) = findings(repeated_order, replace(run, events=cut))
    assert finding.strength == "proved"


@pytest.mark.parametrize(("model", "data", "lr"), [("mlp", "digits", 0.1), ("deep", "wide", 0.03)])
def test_without_ids_the_profile_of_the_loss_shows_it(model: str, data: str, lr: float) -> None:
    run = without_ids(train(model=model, data=data, lr=lr, order=once))
    (finding,) = findings(repeated_order, run)
    assert (finding.kind, finding.strength) == ("fault", "likely")
    assert finding.missing
    assert "rank correlation 0.9" in finding.evidence[0]
    healthy = checked(repeated_order, without_ids(train(model=model, data=data, lr=lr)))
    assert "rank correlation" in healthy


def test_a_profile_alone_cannot_tell_an_order_on_purpose() -> None:
    """Text in pieces that follow each other: the same batches in each epoch are meant, and nothing says so."""
    run = without_ids(train(model="lstm", data="tokens", epochs=6, lr=0.1, order=once))
    watched = {"model": {"class": "Net", "recurrent": 1}}
    unwrapped = replace(run, facts=watched, events=tuple(replace(e, fields={}) for e in run.events))
    (finding,) = findings(repeated_order, unwrapped)
    assert (finding.kind, finding.explains_jump) == ("benign", False)
    assert "writer.log_batch(loss, hidden=hidden)" in finding.missing
    (told,) = findings(repeated_order, run)  # the loader was to shuffle
    assert told.kind == "fault"
    assert "hidden" not in " ".join(told.missing)
    flat = replace(
        unwrapped,
        columns={**unwrapped.columns, "input_mean": np.zeros(len(run))},
        facts={"model": {"class": "Sequential", "recurrent": 0}},
    )
    assert findings(repeated_order, flat)[0].kind == "fault"  # a model that carries nothing
    assert findings(repeated_order, replace(flat, facts={"model": {"recurrent": 1}}))[0].kind == "benign"
    assert findings(repeated_order, replace(unwrapped, facts={}))[0].kind == "fault"  # nothing speaks for state


def test_too_short_for_a_profile_is_skipped_with_the_line_that_helps() -> None:
    run = without_ids(train(epochs=4, batch_size=256))
    assert skipped(repeated_order, run).how == "train_loader = writer.wrap(train_loader)"
    assert "one epoch" in skipped(repeated_order, train(epochs=1)).why
