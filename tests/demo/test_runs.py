"""Every demo run shows what its docstring says, measured without the analysis, and gets the verdict that is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import demo
from demo.catalogue import CAUSES, EXPECT, SEEDS
from tb_losslens import Diagnosis, Run


def test_fifteen_experiments_and_no_file_left_out():
    folder = Path(demo.__file__).parent
    for modules, name in ((SEEDS, "seeds"), (CAUSES, "causes")):
        on_disk = {path.stem for path in (folder / name).glob("*.py")} - {"__init__"}
        assert {module.__name__.rpartition(".")[2] for module in modules} == on_disk
    assert len(SEEDS) == 15


def test_every_run_is_recorded_and_nothing_else(demo_runs: Mapping[str, Run]):
    assert set(demo_runs) == set(EXPECT)


@pytest.mark.parametrize("run", EXPECT)
def test_the_verdict_is_true(run: str, demo_diagnoses: Mapping[str, Diagnosis]):
    diagnosis = demo_diagnoses[run]
    wrong = EXPECT[run].disagreements(diagnosis)
    assert not wrong, f"{diagnosis.verdict}\n" + "\n".join(wrong)


@pytest.mark.parametrize("run", EXPECT)
def test_nothing_is_said_to_be_missing_that_the_script_does(run: str, demo_diagnoses: Mapping[str, Diagnosis]):
    for finding in demo_diagnoses[run].findings:
        assert not [line for line in finding.missing if "wrap(train_loader)" in line], "every script wraps its loader"


def test_bad_batches_are_named_by_number_and_sample(demo_runs: Mapping[str, Run], demo_diagnoses: Mapping[str, Diagnosis]):
    run, diagnosis = demo_runs["bad_batches_500_to_520"], demo_diagnoses["bad_batches_500_to_520"]
    finding = next(f for f in diagnosis.findings if f.cause == "bad_batch")
    assert list(finding.steps[:1]) == [500]
    assert all(500 <= step < 520 for step in finding.steps), "batches outside the span are fine"
    said = " ".join((finding.title, finding.text, *finding.evidence))
    assert "500" in said
    assert "519" in said
    ids = run.ragged["sample_ids"]
    assert any(str(int(sample)) in said.replace(",", " ").split() for sample in ids[500]), (
        "names samples of the first bad batch"
    )


def test_a_shuffle_that_was_switched_on_is_seen_to_work(demo_diagnoses: Mapping[str, Diagnosis]):
    finding = next(f for f in demo_diagnoses["shuffle_off_then_on"].findings if f.cause == "repeated_order")
    assert set(finding.boundaries) == {0, 1, 2, 3, 4}, "from epoch 6 on the order is new each time"
    assert not finding.explains_jump


# --- what the trainings do, in the recorded columns --------------------------------------------------------------------

def by_epoch(run: Run) -> list[np.ndarray]:
    """Losses of each epoch."""
    return [run.loss[epoch.first : epoch.last] for epoch in run.epochs]


def jump(run: Run, boundary: int, m: int) -> float:
    """Mean of m losses after a boundary less the mean of m before it."""
    cut = run.epochs[boundary + 1].first
    return float(run.loss[cut : cut + m].mean() - run.loss[cut - m : cut].mean())


def test_switching_the_shuffle_on_moves_nothing(demo_runs: Mapping[str, Run]):
    epochs = by_epoch(demo_runs["shuffle_off_then_on"])
    np.testing.assert_allclose(epochs[4], epochs[5], rtol=0.05)  # without shuffling the same curve comes back
    assert np.abs(epochs[6] - epochs[7]).max() > 0.5
    assert abs(epochs[6].mean() - epochs[5].mean()) < 0.05


def test_lr_cut_lets_the_loss_sink(demo_runs: Mapping[str, Run]):
    for name, boundary in (("step_lr", 3), ("lr_raised_and_cut", 7)):
        epochs = by_epoch(demo_runs[name])
        assert epochs[boundary + 1].mean() < 0.6 * epochs[boundary].mean()
        assert jump(demo_runs[name], boundary, 30) < -0.5
    assert jump(demo_runs["lr_raised_and_cut"], 3, 5) > 0.5


def test_plateau_cuts_the_lr_once_the_loss_is_flat(demo_runs: Mapping[str, Run]):
    run = demo_runs["plateau_on_epoch_loss"]
    lr = [float(run.float("lr")[epoch.first]) for epoch in run.epochs]
    cut = next(k for k in range(1, len(lr)) if lr[k] < lr[k - 1])
    assert lr[cut] == pytest.approx(lr[cut - 1] / 10)
    assert by_epoch(run)[cut].mean() < 0.7 * by_epoch(run)[cut - 1].mean()


def test_wider_augmentation_changes_inputs_and_loss_for_good(demo_runs: Mapping[str, Run]):
    steady, widened = demo_runs["random_scaling"], demo_runs["random_scaling_widened"]
    cut = widened.epochs[6].first
    std = widened.float("input_std")
    # of a quick training not every batch has its inputs read
    assert np.nanmin(std[cut:]) > np.nanmax(std[:cut])
    usual = steady.float("input_std")
    assert np.nanmax(usual) - np.nanmin(usual) < (np.nanmax(std) - np.nanmin(std)) / 2
    assert jump(widened, 5, 10) > 1
    np.testing.assert_array_equal(steady.loss[:cut], widened.loss[:cut])


def test_the_running_mean_is_one(demo_runs: Mapping[str, Run]):
    raw, shown = demo_runs["batch_loss"], demo_runs["batch_loss_running_mean"]
    expected = np.concatenate([np.cumsum(epoch) / np.arange(1, len(epoch) + 1) for epoch in by_epoch(raw)])
    np.testing.assert_allclose(shown.loss, expected, rtol=1e-5)


def test_noise_falls_as_the_root_of_the_batch_size(demo_runs: Mapping[str, Run]):
    noise = {n: float(np.std(by_epoch(demo_runs[f"batch_size_{n}"])[-1])) for n in (32, 64, 128)}
    assert noise[32] / noise[64] == pytest.approx(2**0.5, rel=0.2)
    assert noise[32] / noise[128] == pytest.approx(2, rel=0.25)


def test_adam_at_0_1_hovers_above_the_best_constant(demo_runs: Mapping[str, Run]):
    means = [epoch.mean() for epoch in by_epoch(demo_runs["adam_at_0_1"])]
    assert all(np.log(2) < mean < 0.85 for mean in means)
    assert demo_runs["adam_at_0_1"].loss.max() < 2, "it does not diverge"


def test_flips_set_a_floor(demo_runs: Mapping[str, Run]):
    assert by_epoch(demo_runs["flipped_coin_labels"])[-1].mean() == pytest.approx(np.log(2), abs=0.02)
    assert 0.5 < by_epoch(demo_runs["flipped_labels"])[-1].mean() < 0.6
    assert demo_runs["flipped_labels"].validations[-1].value < 0.4, "held-out labels are not flipped"


def test_the_deep_model_memorises_and_does_not_explode(demo_runs: Mapping[str, Run]):
    run = demo_runs["deep_model"]
    assert by_epoch(run)[-1].mean() < 0.6 < 0.69 < by_epoch(run)[0].mean()
    assert run.validations[-1].value > run.validations[0].value
    assert np.nanmax(run.float("grad_norm")) < 20


def test_the_unguarded_deep_model_explodes(demo_runs: Mapping[str, Run]):
    run = demo_runs["deep_model_exploding"]
    bad = np.flatnonzero(~np.isfinite(run.loss))
    assert 200 < bad[0] < 700
    assert not np.isfinite(run.loss[bad[0] :]).any()
    assert np.nanmax(run.float("input_std")) < 2, "the data are in order"


def test_validation_spikes_and_recovers(demo_runs: Mapping[str, Run]):
    values = np.array([v.value for v in demo_runs["validation_spike"].validations])
    rises = [
        k for k in range(2, len(values) - 1) if values[k] > 1.4 * values[:k].min() and values[k + 1 :].min() < values[:k].min()
    ]
    assert rises, values


def test_batchnorm_noise_raises_the_training_loss(demo_runs: Mapping[str, Run]):
    gap = {
        n: by_epoch(run)[-1].mean() - run.validations[-1].value
        for n, run in ((n, demo_runs[f"batchnorm_batch_{n}"]) for n in (4, 128))
    }
    assert gap[4] > 0.1 > 0 > gap[128]


def test_shuffled_once_is_the_same_order_each_epoch(demo_runs: Mapping[str, Run]):
    run = demo_runs["shuffle_once"]
    ids = run.ragged["sample_ids"]
    orders = [np.concatenate([ids[row] for row in range(epoch.first, epoch.last)]) for epoch in run.epochs]
    assert all(np.array_equal(orders[0], order) for order in orders[1:])


def test_bad_batches_are_bad_and_only_those(demo_runs: Mapping[str, Run]):
    std = demo_runs["bad_batches_500_to_520"].float("input_std")
    np.testing.assert_array_equal(np.flatnonzero(std > 5), np.arange(500, 520))


def test_clipping_keeps_the_network_alive(demo_runs: Mapping[str, Run]):
    off, on = demo_runs["clipping_off"], demo_runs["clipping_on"]
    assert off.loss.max() > 10
    assert by_epoch(off)[-1].mean() == pytest.approx(1 / 6, rel=0.1)
    assert by_epoch(on)[-1].mean() < 0.12
    assert np.nanmax(on.float("grad_norm")) > 5
    assert np.nanmax(on.float("grad_norm_at_step")) < 1.01


def test_cosine_restarts_jump_up_at_every_boundary_and_the_baseline_at_none(demo_runs: Mapping[str, Run]):
    restarts, baseline = demo_runs["cosine_restarts"], demo_runs["healthy_baseline"]
    assert all(jump(restarts, k, 10) > 0.1 for k in range(11))
    assert abs(np.median([jump(baseline, k, 10) for k in range(11)])) < 0.05


def test_sorted_data_jump_up_at_every_boundary(demo_runs: Mapping[str, Run]):
    assert all(jump(demo_runs["sorted_data"], k, 5) > 0.3 for k in range(11))


def test_a_second_softmax_puts_a_floor_under_the_loss(demo_runs: Mapping[str, Run]):
    loss = demo_runs["softmax_twice"].loss
    floor = np.log1p(7 / np.e)
    assert loss.min() > floor
    assert np.median(loss[-60:]) < floor + 0.3


def test_dropout_is_off_after_the_first_validation(demo_runs: Mapping[str, Run]):
    run = demo_runs["forgot_train_mode"]
    mode = run.float("train_mode")
    assert (mode[:400] == 1).all()
    assert (mode[400:] < 1).all()
    assert jump(run, 3, 10) < -0.3
