"""A plain log becomes a run: each loss in its epoch, with the rate and the held-out losses that the log has."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.errors import LogdirError
from tb_losslens.store.plain import plain_run, plain_runs
from tests.plain_logs import losses, summary_writer, write

LENGTH = 100


def firsts(run):
    """First step of each epoch."""
    return [int(run.step[epoch.first]) for epoch in run.epochs]


def plain(run):
    return run.facts["plain"]


def test_the_epoch_tag_of_a_thinned_log(tmp_path):
    loss = losses(4, 1000)
    run = plain_run(write(tmp_path, loss, 1000, every=50, epoch=lambda step: step // 1000, held_out="val/loss"))
    assert run.plain
    assert (plain(run)["tag"], plain(run)["every"]) == ("train/loss", 50)
    assert [(epoch.epoch, len(epoch)) for epoch in run.epochs] == [(0, 20), (1, 20), (2, 20), (3, 20)]
    np.testing.assert_allclose(run.loss, loss[49::50], rtol=1e-6)
    assert firsts(run) == [49, 1049, 2049, 3049]
    assert not plain(run)["inferred"]
    assert [(v.batch, v.step, v.epoch) for v in run.validations] == [(20, 999, 0), (40, 1999, 1), (60, 2999, 2), (80, 3999, 3)]


def test_a_rounded_epoch_tag_is_not_cut_where_it_reads_a_whole_number(tmp_path):
    """It says 1.0 from step 498 on; the loss falls by a third at step 500. One loss at each boundary may be of either epoch."""
    level = np.tile(np.concatenate([np.full(20, 1.0), np.linspace(1.0, 1.5, 480)]), 4)
    run = plain_run(write(tmp_path, level, 500, epoch=lambda step: round(step / 500, 2)))
    assert [abs(step - 500 * k) <= 1 for k, step in enumerate(firsts(run))] == [True] * 4
    for k in range(1, 4):
        first = run.epochs[k].first
        assert run.loss[first - 5 : first].min() > 1.49
        assert run.loss[first : first + 5].max() < 1.01


@pytest.mark.parametrize("by_epoch", [False, True], ids=["by steps", "by epochs"])
def test_epochs_are_inferred_from_what_is_written_once_in_each(tmp_path, by_epoch):
    run = plain_run(write(tmp_path, losses(5, LENGTH), LENGTH, every=5, held_out="Loss/val", by_epoch=by_epoch))
    assert [len(epoch) for epoch in run.epochs] == [20] * 5
    assert firsts(run) == [4, 104, 204, 304, 404]
    assert plain(run)["inferred"]
    assert "Loss/val" in plain(run)["epochs"]
    assert [v.batch for v in run.validations] == [20, 40, 60, 80, 100]


def test_a_validation_at_unequal_distances_is_no_epoch(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(5, LENGTH).tolist()):
            writer.add_scalar("train_loss", value, step)
            if step in (90, 240, 300, 499):
                writer.add_scalar("val_loss", 1.0, step)
    run = plain_run(tmp_path)
    assert not run.epochs
    assert len(run.validations) == 4


def test_the_end_of_an_epoch_is_told_by_its_tag_and_what_comes_after_the_last_one_is_unknown(tmp_path):
    """Lightning writes `epoch` beside what is logged at the end of each."""
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(3, LENGTH).tolist()[:250]):
            writer.add_scalar("train_loss_step", value, step)
            if step % LENGTH == LENGTH - 1:
                writer.add_scalar("train_loss_epoch", 1.0, step)
                writer.add_scalar("epoch", step // LENGTH, step)
    run = plain_run(tmp_path)
    assert [(epoch.epoch, len(epoch)) for epoch in run.epochs] == [(0, 100), (1, 100)]
    assert (run.columns["epoch"][200:] == -1).all()


def test_lengths_from_the_user_count_before_anything_else(tmp_path):
    write(tmp_path, losses(4, LENGTH), LENGTH, epoch=lambda step: step // 50)
    assert len(plain_run(tmp_path).epochs) == 8
    assert firsts(plain_run(tmp_path, batches_per_epoch=LENGTH)) == [0, 100, 200, 300]


def test_without_anything_that_tells_epochs_there_are_none(tmp_path):
    run = plain_run(write(tmp_path, losses(4, LENGTH), LENGTH))
    assert len(run) == 400
    assert not run.epochs
    assert plain(run)["no_epochs"] == "no scalar tells it"


def test_a_newer_file_overtakes_an_older_one(tmp_path, monkeypatch):
    loss = losses(4, LENGTH)
    for number, span in enumerate([range(250), range(200, 400)]):
        monkeypatch.setattr("time.time", lambda number=number: 1.7e9 + 1000 * number)
        with summary_writer(tmp_path) as writer:
            for step in span:
                writer.add_scalar("loss", loss[step] + number, step)
                writer.add_scalar("epoch", step // LENGTH, step)
    run = plain_run(tmp_path)
    assert run.step.tolist() == list(range(400))
    assert run.superseded == 50
    np.testing.assert_allclose(run.loss[[199, 200]], [loss[199], loss[200] + 1], rtol=1e-6)
    assert [(s["first_step"], s["last_step"]) for s in run.sessions] == [(0, 249), (200, 399)]
    assert firsts(run) == [0, 100, 200, 300]
    assert "purge_step" not in run.facts


def test_files_are_taken_in_the_order_in_which_they_were_begun_whatever_their_names(tmp_path):
    with summary_writer(tmp_path, filename_suffix=".9") as writer:
        writer.add_scalar("loss", 1.0, 0, walltime=100.0)
        writer.add_scalar("loss", 2.0, 1, walltime=101.0)
    (only,) = tmp_path.iterdir()
    older = only.rename(tmp_path / "events.out.tfevents.1.host.9")
    with summary_writer(tmp_path) as writer:
        writer.add_scalar("loss", 3.0, 2, walltime=102.0)
    next(path for path in tmp_path.iterdir() if path != older).rename(tmp_path / "events.out.tfevents.1.host.10")
    assert plain_run(tmp_path).loss.tolist() == [1.0, 2.0, 3.0]


def test_a_purge_is_no_second_writer(tmp_path, monkeypatch):
    for number, (span, options) in enumerate([(range(250), {}), (range(200, 400), {"purge_step": 200})]):
        monkeypatch.setattr("time.time", lambda number=number: 1.7e9 + 1000 * number)
        with summary_writer(tmp_path, **options) as writer:
            for step in span:
                writer.add_scalar("loss", 1.0, step)
    assert plain_run(tmp_path).facts["purge_step"] == 200


def test_the_rate_of_each_loss(tmp_path):
    run = plain_run(
        write(tmp_path, losses(4, LENGTH), LENGTH, every=5, epoch=lambda s: s // LENGTH, lr=lambda s: 0.1 / (1 + s // 200))
    )
    np.testing.assert_allclose(run.float("lr"), np.repeat([0.1, 0.05], 40), rtol=1e-6)


@pytest.mark.parametrize("at", [0, LENGTH - 1, 50], ids=["start", "end", "middle"])
@pytest.mark.parametrize("constant", [False, True])
def test_a_rate_once_an_epoch_holds_in_it_only_where_it_is_written_at_its_start(tmp_path, at, constant):
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(4, LENGTH).tolist()):
            if step % LENGTH == at:
                writer.add_scalar("lr", 0.1 if constant else 0.1 * 0.5 ** (step // LENGTH), step)
            writer.add_scalar("loss", value, step)
            writer.add_scalar("epoch", step // LENGTH, step)
    run = plain_run(tmp_path)
    if constant:
        np.testing.assert_allclose(run.float("lr"), 0.1, rtol=1e-6)
    elif at == 0:
        np.testing.assert_allclose(run.float("lr"), 0.1 * np.repeat([1, 0.5, 0.25, 0.125], LENGTH), rtol=1e-6)
    else:
        assert not run.has("lr")
        assert plain(run)["rate_unplaced"] == ["lr"]


def test_a_log_that_was_put_together_tag_by_tag(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(4, LENGTH).tolist()):
            writer.add_scalar("loss", value, step)
        for epoch in range(4):
            writer.add_scalar("val_loss", 1.0, LENGTH * (epoch + 1) - 1)
    run = plain_run(tmp_path)
    assert [v.batch for v in run.validations] == [100, 200, 300, 400]
    assert firsts(run) == [0, 100, 200, 300]


def test_a_step_that_begins_again_in_each_epoch(tmp_path):
    with summary_writer(tmp_path) as writer:
        for step, value in enumerate(losses(4, LENGTH).tolist()):
            writer.add_scalar("loss", value, step % LENGTH)
    run = plain_run(tmp_path)
    assert [len(epoch) for epoch in run.epochs] == [100] * 4
    assert plain(run)["inferred"]


def test_each_plain_run_below_a_directory(tmp_path):
    for name in ("a", "b/c"):
        write(tmp_path / name, losses(3, 20), 20)
    assert sorted(plain_runs(tmp_path)) == ["a", "b/c"]
    assert sorted(plain_runs(tmp_path, ["a"])) == ["b/c"]
    assert sorted(plain_runs(tmp_path, only="a")) == ["a"]
    assert plain_run(tmp_path / "a").name == "a"
    with pytest.raises(LogdirError, match="is not a directory"):
        plain_run(tmp_path / "none")


def test_no_loss_and_no_points(tmp_path):
    with summary_writer(tmp_path) as writer:
        writer.add_scalar("accuracy", 0.5, 1)
    run = plain_run(tmp_path)
    assert len(run) == 0
    assert "accuracy" in plain(run)["no_loss"]


def test_a_log_as_hugging_faces_trainer_writes_it(tmp_path):
    """Steps that are done, a rounded epoch, a mean at the end; the evaluation is written at the last step of each epoch."""
    loss = losses(4, 500)
    with summary_writer(tmp_path) as writer:
        for done in range(10, 2001, 10):
            writer.add_scalar("train/loss", loss[done - 10 : done].mean(), done)
            writer.add_scalar("train/learning_rate", 1e-3 * (1 - done / 2000), done)
            writer.add_scalar("train/epoch", round(done / 500, 2), done)
            if done % 500 == 0:
                writer.add_scalar("eval/loss", 1.0, done)
                writer.add_scalar("train/epoch", done // 500, done)
        writer.add_scalar("train/train_loss", loss.mean(), 2000)
    run = plain_run(tmp_path)
    assert (plain(run)["tag"], plain(run)["held_out"]) == ("train/loss", "eval/loss")
    assert [(epoch.epoch, len(epoch)) for epoch in run.epochs] == [(0, 49), (1, 49), (2, 49), (3, 49)]
    assert firsts(run) == [10, 510, 1010, 1510]  # the loss of step 500 may be of either
    assert plain(run)["left_out"] == 3
    assert run.has("lr")
    assert [v.step for v in run.validations] == [500, 1000, 1500, 2000]


def test_a_directory_of_held_out_values_is_no_training(tmp_path):
    """`add_scalars` makes one directory for each of its curves, in all of which the tag is the same."""
    with summary_writer(tmp_path) as writer:
        for step in range(60):
            writer.add_scalars("loss", {"train": 1.0 / (1 + step), "val": 2.0 / (1 + step)}, step)
    runs = plain_runs(tmp_path)
    assert plain(runs["loss_train"])["tag"] == "loss"
    assert plain(runs["loss_val"])["tag"] == ""
    assert "what was not trained on" in plain(runs["loss_val"])["no_loss"]
    assert plain(plain_runs(tmp_path, only="loss_val", loss_tag="loss")["loss_val"])["tag"] == "loss"
