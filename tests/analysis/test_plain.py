"""What is said of a plain log: what its scalars show, and of everything else how to record it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.analysis import plain
from tb_losslens.analysis.causes import CAUSES
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.plain import plain_run
from tests.plain_logs import losses, summary_writer, write

REAL = Path(os.environ.get("LOSSLENS_REAL_LOGS", str(Path(__file__).resolve().parents[3] / "shared" / "real_logs")))
"""Logs of other people's trainings, which are not part of this repository."""


def causes(diagnosis):
    return [finding.cause for finding in diagnosis.findings]


def skipped(diagnosis):
    return {item.cause: item for item in diagnosis.skipped}


def judged(directory, **options):
    """The diagnosis of a plain log, which never has a fault and never says that it was recorded."""
    found = diagnose(plain_run(directory, **options))
    assert found.plain
    assert "fault" not in (found.kind, *(finding.kind for finding in found.findings))
    assert all(f.strength != "proved" or f.cause == "log_overlap" for f in found.findings)
    json.dumps(found.to_dict(), allow_nan=False)
    found.to_markdown()
    if found.batches:
        assert "It is a plain log, not recorded with LossLens" in found.verdict
        asked = {*causes(found), *(item.cause for item in found.checked)}
        assert asked <= set(plain.ASKED)
        for cause in CAUSES:
            if cause.ID not in plain.ASKED:
                assert skipped(found)[cause.ID].how.startswith("writer = LossLensWriter(log_dir)")
    return found


def stairs(directory, *, drop=0.06, epochs=20, every=50, **options):
    """Epochs of 2,000 steps, of which one loss in 50 is logged."""
    return write(
        directory, losses(epochs, 2000, drop=drop, gain=0.5), 2000, every=every, epoch=lambda step: step // 2000, **options
    )


def test_small_drops_at_each_boundary_of_a_thinned_log(tmp_path):
    found = judged(stairs(tmp_path))
    assert found.pooled.direction == -1
    assert found.pooled.down >= 17
    assert found.pooled.p < 1e-3
    assert found.verdict.startswith(f"Loss drops at {found.pooled.down} of 19 epoch boundaries")
    assert "% of the loss before it" in found.verdict
    assert "`train/loss`, written once in 50 steps; epochs are those of `epoch`." in found.verdict
    (memorization,) = [f for f in found.findings if f.cause == "memorization"]
    assert (memorization.kind, memorization.strength) == ("benign", "possible")
    assert "a plain log does not show" in memorization.text
    assert memorization.against == ("neither the learning rate nor the samples of each epoch are in the log",)
    assert found.batches == 20 * 40


def test_noise_of_the_same_log_is_no_drop(tmp_path):
    found = judged(stairs(tmp_path, drop=0.0))
    assert found.pooled.direction == 0
    assert causes(found) == ["batch_noise"]
    assert found.kind == "benign"
    assert found.verdict.startswith("No jump")
    assert found.unchecked.startswith("Not checked, as scalars alone do not show it: ")


def test_the_same_drops_are_not_looked_for_where_epochs_are_unknown(tmp_path):
    found = judged(write(tmp_path, losses(20, 2000, drop=0.06, gain=0.5), 2000, every=50))
    assert found.findings == ()
    assert found.boundaries == ()
    assert "`--batches-per-epoch N`" in found.pooled.reason
    assert "LossLensWriter" in found.pooled.reason
    assert judged(tmp_path, batches_per_epoch=2000).pooled.direction == -1


def test_inferred_epochs_are_said_to_be(tmp_path):
    loss = losses(20, 2000, drop=0.06, gain=0.5)
    found = judged(write(tmp_path, loss, 2000, every=50, held_out="val/loss"))
    assert found.pooled.direction == -1
    assert "epochs are inferred from where `val/loss` is written: if they are others, give" in found.verdict
    assert "where epochs begin is inferred, from where `val/loss` is written" in found.findings[0].against


def test_points_are_counted_where_not_every_batch_has_one(tmp_path):
    thinned = judged(stairs(tmp_path / "thinned", drop=0.0))
    said = " ".join(
        [thinned.verdict, *(str(e) for f in thinned.findings for e in (f.title, f.text, f.advice, *f.evidence, *f.against))]
    )
    assert "points" in said
    assert not any(f"{number} batch" in said for number in range(10))
    whole = judged(write(tmp_path / "whole", losses(10, 60), 60, epoch=lambda step: step // 60))
    assert "written once in" not in whole.verdict


def test_fewer_than_ten_points_an_epoch_are_refused(tmp_path):
    found = judged(write(tmp_path, losses(20, 200), 200, every=50, epoch=lambda step: step // 200))
    assert found.pooled.reason.startswith("An epoch has 4 points of `train/loss`; below 10")
    assert found.findings == ()


def test_one_point_an_epoch_is_refused(tmp_path):
    found = judged(write(tmp_path, losses(15, 100), 100, every=100, held_out="val/loss"))
    assert found.pooled.reason.startswith("`train/loss` has 15 points, as where it is written once an epoch")
    assert found.findings == ()


def test_one_boundary_is_refused(tmp_path):
    found = judged(write(tmp_path, losses(2, 100), 100, epoch=lambda step: step // 100))
    assert found.pooled.reason.startswith("The log names 2 epochs, so 1 boundary; at least 2")
    assert found.kind == "unknown"


def test_no_loss_names_the_scalars_to_choose_from(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step in range(15):
            writer.add_scalar("train/box_om", 1.0 / (1 + step), step)
    found = judged(tmp_path)
    assert "`--loss-tag TAG` chooses one of `train/box_om`" in found.verdict
    assert "none has more than 15 points, as if written once an epoch" in found.verdict


def tooth(epochs=12, length=60, *, up=0.3):
    """A loss that jumps up at boundaries 4 and 8 only and stays there."""
    base = losses(epochs, length, noise=0.03, fall=0.3)
    return base + up * (np.arange(len(base)) // length >= 4) + up * (np.arange(len(base)) // length >= 8)


def test_a_cut_of_the_rate_where_the_loss_falls(tmp_path):
    rate = {"lr": lambda step: 0.1 if step < 360 else 0.01}
    loss = losses(12, 60, noise=0.03, fall=0.3) - 0.25 * (np.arange(720) >= 360)
    found = judged(write(tmp_path / "cut", loss, 60, epoch=lambda step: step // 60, **rate))
    (cut,) = [f for f in found.findings if f.cause == "lr_decrease"]
    assert (cut.kind, cut.boundaries) == ("benign", (5,))
    steady = judged(write(tmp_path / "steady", losses(12, 60, noise=0.03, fall=0.3), 60, epoch=lambda step: step // 60, **rate))
    assert "lr_decrease" not in causes(steady)


def test_a_raised_rate_is_named_and_no_fault_for_a_log_does_not_say_what_was_meant(tmp_path):
    found = judged(
        write(
            tmp_path, tooth(), 60, epoch=lambda step: step // 60, lr=lambda step: 0.01 * 10 ** ((step >= 240) + (step >= 480))
        )
    )
    (raised,) = [f for f in found.findings if f.cause == "lr_increase"]
    assert raised.kind == "unknown"
    assert raised.boundaries == (3, 7)
    assert "Whether that was meant, a plain log does not say." in raised.text


def test_a_rate_that_nobody_can_place_is_no_ground(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(20, 60, drop=0.1).tolist()):
            writer.add_scalar("loss", value, step)
            writer.add_scalar("epoch", step // 60, step)
            if step % 60 == 59:
                writer.add_scalar("lr", 0.1 * 0.8 ** (step // 60), step)
    found = judged(tmp_path)
    assert found.pooled.direction == -1
    assert "memorization" not in causes(found)  # the falling rate may be why
    assert "`lr`" in skipped(found)["memorization"].why
    assert found.kind == "unknown"


def test_a_running_mean_is_seen_in_a_thinned_log(tmp_path):
    raw = losses(8, 2000, noise=0.2)
    mean = (np.cumsum(raw.reshape(8, -1), axis=1) / np.arange(1, 2001)).ravel()
    found = judged(write(tmp_path / "mean", mean, 2000, every=50, epoch=lambda step: step // 2000))
    assert causes(found)[0] == "running_mean"
    assert found.findings[0].strength == "likely"
    raw = judged(write(tmp_path / "raw", raw, 2000, every=50, epoch=lambda step: step // 2000))
    assert "running_mean" not in causes(raw)


def test_where_the_loss_stops_being_a_number(tmp_path):
    loss = losses(4, 500)
    loss[1234:] = np.nan
    found = judged(write(tmp_path, loss, 500, every=10))
    assert found.findings[0].title == "The loss stops being finite at step 1,239"


def test_two_files_that_overlap_are_an_artefact(tmp_path, monkeypatch):
    for number, span in enumerate([range(300), range(200, 600)]):
        monkeypatch.setattr("time.time", lambda number=number: 1.7e9 + 1000 * number)
        with summary_writer(tmp_path) as writer:
            loss = losses(6, 100)
            for step in span:
                writer.add_scalar("loss", loss[step], step)
                writer.add_scalar("epoch", step // 100, step)
    found = judged(tmp_path)
    (overlap,) = [f for f in found.findings if f.cause == "log_overlap"]
    assert (overlap.kind, overlap.detail, overlap.steps) == ("artifact", "sessions", (200,))


def test_a_step_that_goes_back_in_a_log_without_a_loss(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step in [*range(100), *range(90, 200)]:
            writer.add_scalar("foo", 1.0, step)
    found = judged(tmp_path)
    assert causes(found) == ["log_overlap"]
    assert found.findings[0].kind == "artifact"
    assert "the step goes from 99 to 90 at point 100, within one file" in found.verdict
    assert "the steps of `foo` go back" in found.verdict


def real(name):
    if not (REAL / name).is_dir():
        pytest.skip("this log is not part of the repository")
    return judged(REAL / name)


def test_drops_that_no_eye_sees_at_each_boundary_of_a_real_log():
    found = real("text_generation_lstm")
    assert (found.pooled.down, found.pooled.total) == (28, 28)
    assert found.pooled.p < 1e-6
    relative = np.median([b.jump / b.before for b in found.boundaries])
    assert -0.035 < relative < -0.025
    assert found.kind == "benign"


def test_a_real_log_of_two_epochs_is_refused():
    found = real("fractaldb")
    assert found.pooled.reason.startswith("The log names 2 epochs, so 1 boundary")
    assert found.findings == ()


def test_a_real_log_with_one_point_an_epoch_is_refused():
    assert "none has more than 16 points, as if written once an epoch" in real("yolov10").verdict
    found = judged(REAL / "yolov10", loss_tag="train/box_om")
    assert "has 15 points, as where it is written once an epoch" in found.pooled.reason
    assert found.findings == ()


def test_a_real_log_whose_steps_go_back():
    found = real("duplicate_steps")
    assert (found.kind, causes(found)) == ("artifact", ["log_overlap"])
