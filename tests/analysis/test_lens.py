"""The lens of one boundary on real trainings: what every signal did, in the shape of http_api.md."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.lens import lens
from tb_losslens.store.run import Run
from tests.toys import dataset
from tests.trainings import train


def signals(run: Run, index: int, m: int | None = None) -> dict[str, dict[str, Any]]:
    out = lens(run, diagnose(run), index, m)
    json.dumps(out, allow_nan=False)
    return {s["name"]: s for s in out["signals"]}


def test_a_healthy_boundary_is_steady_in_words() -> None:
    seen = signals(train(epochs=6), 2)
    assert list(seen) == ["lr", "grad_norm", "input_mean", "input_std", "classes", "batch_size", "train_mode"]
    assert seen["lr"]["said"] == "0.1 throughout"
    assert seen["batch_size"]["said"] == "32 throughout"
    assert seen["train_mode"]["said"] == "train throughout"
    assert seen["input_mean"]["said"].startswith("steady (z ")
    assert not any(s["moved"] for s in seen.values())


def test_an_lr_that_jumps_is_said_with_its_factor() -> None:
    run = train(epochs=6, lr=0.002, schedule=lambda step, total, per: 51.0 if step >= 3 * per else 1.0)
    seen = signals(run, 2)
    assert next(iter(seen)) == "lr"
    assert seen["lr"]["moved"]
    assert seen["lr"]["said"] == "0.002 → 0.102 (×51)"
    assert signals(run, 1)["lr"]["said"] == "0.002 throughout"


def test_a_decaying_lr_glides() -> None:
    seen = signals(train(epochs=6, schedule="cosine"), 2)
    assert not seen["lr"]["moved"]
    assert seen["lr"]["said"].endswith("gliding")


def test_clipping_shows_as_a_signal_of_its_own() -> None:
    assert "grad_norm_at_step" in signals(train(epochs=4, clip=0.2), 1)
    assert "grad_norm_at_step" not in signals(train(epochs=4), 1)


def test_scaled_inputs_and_blocks_of_classes_move() -> None:
    def scaled(x: Any, step: int, epoch: int) -> Any:
        return x * 3 if epoch >= 3 else x

    seen = signals(train(epochs=6, change_inputs=scaled), 2)
    assert seen["input_mean"]["moved"]
    assert "(×3" in seen["input_mean"]["said"]
    labels = dataset("digits")[1].numpy()

    def blocks(epoch: int, n: int, rng: np.random.Generator) -> Any:
        order = rng.permutation(n)
        return order[np.argsort(labels[order] > 4, kind="stable")]

    seen = signals(train(epochs=6, order=blocks), 2)
    assert seen["classes"]["moved"]
    assert seen["classes"]["value"][25] > 0.9  # other classes than before the boundary


def test_mode_and_extra_columns_and_groups_are_shown() -> None:
    run = train(epochs=6, model="dropout", training_mode=lambda step, epoch: epoch < 3)
    rng = np.random.default_rng(0)
    extra = {"lr.1": run.columns["lr"] / 10, "kl": rng.normal(size=len(run)), "text": np.array(["x"] * len(run))}
    seen = signals(replace(run, columns={**run.columns, **extra}), 2)
    assert seen["train_mode"]["said"] == "train → eval"
    assert seen["train_mode"]["moved"]
    assert seen["kl"]["label"] == "kl"
    assert seen["lr.1"]["label"] == "LR group 1"
    assert "text" not in seen


def test_a_gradient_that_follows_says_how_much_later() -> None:
    rng = np.random.default_rng(1)
    grad = 1 + 0.05 * rng.normal(size=400)
    grad[203:240] += 3.0
    run = Run.from_arrays(loss=rng.normal(size=400), grad_norm=grad, epoch_length=40)
    assert signals(run, 4)["grad_norm"]["said"].endswith("3 batches later")


@pytest.mark.parametrize(("m", "side"), [(None, 20), (1, 5), (37, 37), (10_000, 200)])
def test_columns_have_m_batches_a_side(m: int | None, side: int) -> None:
    run = train(epochs=12, batch_size=16)
    out = lens(run, diagnose(run), 5, m)
    assert out["m"] == side
    columns = dict(zip(out["names"], out["columns"], strict=True))
    assert columns["offset"] == list(range(-side, side))
    first = run.epochs[6].first - side
    assert columns["batch"][0] == first
    assert columns["loss"] == run.loss[first : first + 2 * side].tolist()
    assert all(len(s["value"]) == len(s["offset"]) == 2 * side for s in out["signals"])
    parts = out["waterfall"]
    assert sum(p["value"] for p in parts[:-1]) == pytest.approx(parts[-1]["value"])
    assert parts[-1]["value"] == out["boundary"]["jump"]


def test_what_was_not_recorded_is_said_with_its_line_of_code() -> None:
    run = Run.from_arrays(loss=np.random.default_rng(2).random(200), epoch_length=20)
    out = lens(run, diagnose(run), 3)
    assert out["signals"] == []
    lines = {item["label"]: item["how"] for item in out["missing"]}
    assert lines["LR"] == "writer.watch(model, optimizer, criterion=criterion)"
    assert "class mix" in lines


def test_losses_that_are_not_finite_become_null() -> None:
    loss = np.random.default_rng(3).random(200)
    loss[100] = np.nan
    loss[101] = np.inf
    run = Run.from_arrays(loss=loss, epoch_length=20, lr=np.full(200, np.nan))
    out = lens(run, diagnose(run), 4)
    assert out["columns"][3][20:22] == [None, None]
    json.dumps(out, allow_nan=False)


def test_a_boundary_that_does_not_exist_is_refused() -> None:
    run = Run.from_arrays(loss=np.ones(40), epoch_length=20)
    with pytest.raises(ValueError, match="boundary must be 0 to 0, got 1"):
        lens(run, diagnose(run), 1)
    with pytest.raises(ValueError, match="no boundary"):
        lens(Run("empty"), diagnose(Run("empty")), 0)
