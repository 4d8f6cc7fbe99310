"""Inputs that change at an epoch with equal mean and spread, or in few batches that were read: recorded by the writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import input_shift
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.input_proof import by_fingerprints, by_relation
from tb_losslens.record import cadence
from tb_losslens.record.signals import fingerprints
from tb_losslens.store.run import Epoch, Run
from tests.analysis import recorded_images
from tests.analysis.contexts import checked, findings
from tests.analysis.recorded_images import Change, thinned

record = partial(recorded_images.record, batch_size=32, lr=0.04)
"""25 batches an epoch: it takes half the time of 50, and every sample is drawn as often."""


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the load of the machine of which batches and passes the inputs are read."""
    monkeypatch.setattr(fingerprints, "MOST_LEFT_OUT", 0)
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def from_four(change: Callable[[Tensor], Tensor], before: Callable[[Tensor], Tensor] = lambda x: x) -> Change:
    return lambda x, epoch: before(x) if epoch < 4 else change(x)


def flipped(x: Tensor) -> Tensor:
    return x.flip(-1)


def turned(x: Tensor) -> Tensor:
    return x.rot90(1, (-2, -1))


def halves_swapped(x: Tensor) -> Tensor:
    return torch.cat([x[..., 4:, :], x[..., :4, :]], dim=-2)


def at_random(x: Tensor) -> Tensor:
    return flipped(x) if torch.rand(()) < 0.5 else x


def scaled(low: float, high: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * torch.empty(len(x), *[1] * (x.dim() - 1)).uniform_(low, high)


@pytest.mark.parametrize(("model", "seed"), [("mlp", 1), ("cnn", 2)])
@pytest.mark.parametrize("change", [flipped, turned, halves_swapped])
@pytest.mark.parametrize("where", ["in_data", "on_device"])
def test_equal_mean_and_spread(tmp_path: Path, model: str, seed: int, change: Callable[[Tensor], Tensor], where: str) -> None:
    how = from_four(change)
    run = record(
        tmp_path,
        model=model,
        seed=seed,
        in_data=how if where == "in_data" else None,
        on_device=how if where == "on_device" else None,
    )
    diagnosis = diagnose(run)
    (fault,) = [f for f in diagnosis.findings if f.kind in ("fault", "unknown")]
    assert (fault.cause, fault.kind, fault.detail) == ("input_shift", "fault", "layout")
    assert "channels" in fault.advice
    assert "augmentation" not in fault.advice + fault.fix
    assert (fault.boundaries, fault.explains_jump) == ((3,), True)
    assert any("places of a sample have another mean" in line for line in fault.evidence)
    assert not any("spread goes from" in line for line in fault.evidence)


def test_each_sample_proves_it_where_every_pass_is_read(tmp_path: Path) -> None:
    run = record(tmp_path, in_data=from_four(flipped))
    fields = [{"inputs_compared": 800, "inputs_changed": 800 if k == 4 else 0} if k else {} for k in range(8)]
    events = tuple(
        replace(e, fields={**e.fields, **fields[e.fields["epoch"]]}) if e.kind == "epoch_end" else e for e in run.events
    )
    (finding,) = findings(input_shift, replace(run, events=events))
    assert finding.strength == "proved"
    assert "all 800 samples that were compared came back with another input after boundary 4" in finding.evidence[0]


def test_what_comes_after_the_loader_is_proved(tmp_path: Path) -> None:
    (finding,) = findings(input_shift, record(tmp_path, on_device=from_four(lambda x: 2 * x - 0.5)))
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "normalization")
    assert "the model is given what the loader gives, from boundary 4 on 2 x - 0.5 of the loader's x" in finding.evidence[0]
    x = torch.randn(5)
    names = {"x": 2 * x - 0.5}
    exec(finding.fix, names)
    assert torch.allclose(names["x"], x, atol=1e-4)


def test_rounding_is_no_offset(tmp_path: Path) -> None:
    """The line through what was read has an offset of some 1e-9, and a factor that is 1 to seven digits."""
    (scaled_only,) = findings(input_shift, record(tmp_path / "factor", on_device=from_four(lambda x: 6 * x)))
    assert "from boundary 4 on 6 x of the loader's x" in scaled_only.evidence[0]
    assert scaled_only.fix.endswith("gets 6 x; as before:\nx = x / 6")
    (moved_only,) = findings(input_shift, record(tmp_path / "offset", on_device=from_four(lambda x: x + 0.7)))
    names = {"x": torch.ones(3)}
    exec(moved_only.fix, names)
    assert torch.allclose(names["x"], torch.full((3,), 0.3), atol=1e-4)
    assert "/" not in moved_only.fix


@pytest.mark.parametrize("seed", [0, 1])
def test_a_part_that_is_left_out_is_no_scale_and_offset(tmp_path: Path, seed: int) -> None:
    def cut(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        out[..., : x.shape[-1] // 2] = -1.0
        return out

    for where in ({"in_data": from_four(cut)}, {"on_device": from_four(cut)}):
        (finding,) = findings(input_shift, record(tmp_path / next(iter(where)), seed=seed, **where))
        assert finding.detail != "normalization"
        assert "x = (" not in finding.fix
        assert "augmentation changed" not in finding.fix


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_augmentation_proves_nothing_until_it_ends(tmp_path: Path, seed: int) -> None:
    steady = record(tmp_path / "steady", seed=seed, in_data=lambda x, epoch: at_random(x))
    assert "came back had another input" in checked(input_shift, steady)
    ended = record(tmp_path / "ended", seed=seed, in_data=from_four(lambda x: x, at_random))
    assert {k for f in findings(input_shift, ended) for k in f.boundaries} <= {3}


def test_a_cache_of_narrower_numbers_does_no_harm(tmp_path: Path) -> None:
    run = record(tmp_path, in_data=from_four(lambda x: x.half().float()))
    diagnosis = diagnose(run)
    assert [f.cause for f in diagnosis.findings if f.kind in ("fault", "unknown")] == []
    (finding,) = findings(input_shift, run)
    assert (finding.kind, finding.explains_jump) == ("benign", False)


@pytest.mark.parametrize("seed", range(3))
def test_a_wider_range_shows_in_few_batches(tmp_path: Path, seed: int) -> None:
    record = recorded_images.record  # in epochs of 50 batches, of which few are looked at
    run = record(tmp_path, seed=seed, on_device=from_four(scaled(0.2, 2.0), scaled(0.8, 1.2)))
    (finding,) = findings(input_shift, thinned(run, 7))
    assert (finding.cause, finding.detail, finding.boundaries) == ("input_shift", "augmentation", (3,))
    steady = record(tmp_path / "steady", seed=seed, on_device=lambda x, epoch: scaled(0.2, 2.0)(x))
    for every in (3, 7, 12):
        assert "inputs move by" in checked(input_shift, thinned(steady, every))


def test_one_of_two_processes_sees_no_other_data(tmp_path: Path) -> None:
    healthy = record(tmp_path / "healthy", ranks=2, samples=1600)
    assert len({epoch.fields["set_hash"] for epoch in healthy.epochs}) == 8
    assert "inputs move by" in checked(input_shift, healthy)
    diagnosis = diagnose(healthy)
    assert [f.cause for f in diagnosis.findings if f.kind in ("fault", "unknown")] == []
    (finding,) = findings(input_shift, record(tmp_path / "flipped", ranks=2, samples=1600, in_data=from_four(flipped)))
    assert (finding.detail, finding.boundaries) == ("layout", (3,))


def epochs_of(*counts: tuple[int, int] | None) -> list[Epoch]:
    names = ("inputs_compared", "inputs_changed")
    return [Epoch(k, 10 * k, 10 * k + 10, dict(zip(names, c, strict=True)) if c else {}) for k, c in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "between", "details"),
    [
        ([None, (99, 0), (99, 99), (99, 0)], [(1,)], [""]),
        ([None, (99, 0), None, None, (99, 99)], [(1, 2, 3)], [""]),
        ([None, (99, 99), (99, 0), (99, 0)], [(0,)], [""]),
        ([None, (99, 0), (99, 50), (99, 45), (99, 52)], [(1,)], ["augmentation"]),
        ([None, (99, 99), (99, 99), (99, 99), (99, 0)], [(2,)], ["augmentation"]),
        ([None, (50, 0), (66, 66), (83, 40), (91, 20), (95, 10)], [(1,)], [""]),  # half of the samples each epoch
        ([None, (99, 0), (99, 99), (99, 4), (99, 0)], [(1,)], [""]),  # left out by drop_last before
        ([None, (99, 99), (99, 99), (99, 99)], [], []),
        ([None, (99, 48), (99, 52), (99, 50)], [], []),
        ([None, (99, 0), (99, 0)], [], []),
        ([None, (99, 0), (99, 5), (99, 2)], [], []),
        ([None, (99, 99)], [], []),
        ([None, (4, 0), (4, 4)], [], []),
    ],
)
def test_when_samples_came_back_different(
    counts: list[tuple[int, int] | None], between: list[tuple[int, ...]], details: list[str]
) -> None:
    proofs = by_fingerprints(epochs_of(*counts))
    assert [proof.between for proof in proofs] == between
    assert [proof.detail for proof in proofs] == details


def test_a_factor_that_is_drawn_anew_is_no_change_on_the_way() -> None:
    rng = np.random.default_rng(0)
    columns = {"loss": np.ones(80), "input_relation": np.ones(80), "input_offset": np.zeros(80)}
    drawn = Run.from_arrays(**columns, input_slope=rng.uniform(0.5, 1.5, 80), epoch_length=10)
    assert by_relation(drawn, drawn.epochs) == []
    fixed = Run.from_arrays(**columns, input_slope=np.repeat([1.5, 2.5], 40), epoch_length=10)
    (proof,) = by_relation(fixed, fixed.epochs)
    assert (proof.between, proof.detail) == ((3,), "normalization")
    now_and_then = Run.from_arrays(**{**columns, "input_relation": rng.integers(0, 2, 80)}, epoch_length=10)
    assert by_relation(now_and_then, now_and_then.epochs) == []


def test_words_count_boundaries_where_a_new_process_counts_its_epochs_again() -> None:
    labels = [0, 1, 2, 3, 0, 1, 2, 3]
    relation = np.repeat([1.0, 0.0], 40)
    run = Run.from_arrays(
        loss=np.ones(80), input_relation=relation, input_slope=1 + relation, input_offset=np.zeros(80), epoch_length=10
    )
    again = [replace(epoch, epoch=label) for epoch, label in zip(run.epochs, labels, strict=True)]
    (on_the_way,) = by_relation(run, again)
    assert "up to boundary 4 the model is given 2 x" in on_the_way.evidence
    assert "from boundary 4 on what the loader gives" in on_the_way.evidence
    came = epochs_of(None, (99, 0), (99, 0), (99, 0), (99, 99), (99, 0))
    (changed,) = by_fingerprints([replace(epoch, epoch=label) for epoch, label in zip(came, labels, strict=False)])
    assert "came back with another input after boundary 4" in changed.evidence
