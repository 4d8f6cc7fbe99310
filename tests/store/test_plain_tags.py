"""Which scalar is taken for what, by names that real tools give them."""

from __future__ import annotations

import pytest

from tb_losslens.store.plain_tags import choose, is_held_out, promising, words


@pytest.mark.parametrize(
    ("tags", "loss"),
    [
        ({"train_loss": 700, "val_loss": 29, "epoch": 730}, "train_loss"),
        ({"Loss/train": 100, "Loss/val": 10}, "Loss/train"),
        ({"train/loss": 100, "eval/loss": 10, "train/epoch": 110, "train/learning_rate": 100}, "train/loss"),
        ({"train/loss": 100, "train/train_loss": 1, "train/total_flos": 1}, "train/loss"),
        ({"train_loss_step": 78, "train_loss_epoch": 2, "valid_loss_epoch": 2}, "train_loss_step"),
        ({"loss": 50}, "loss"),
        ({"trainLoss": 50, "valLoss": 5}, "trainLoss"),
        ({"loss/total": 50, "loss/box": 50, "loss/cls": 50}, "loss/total"),
        ({"batch_loss": 500, "loss_avg": 500}, "batch_loss"),
        ({"train/nll": 500, "valid/nll": 5}, "train/nll"),
        ({"epoch_loss": 30}, "epoch_loss"),
    ],
)
def test_the_training_loss(tags, loss):
    assert choose(tags).loss == loss


@pytest.mark.parametrize(
    "tags",
    [
        {"train/box_loss": 15, "train/cls_loss": 15, "train/dfl_loss": 15},
        {"loss_G": 100, "loss_D": 100},
        {"val_loss": 20, "test/loss": 3},
        {"accuracy": 20},
        {"train/loss": 50, "loss/train": 50},
        {},
    ],
)
def test_two_that_may_be_meant_or_none_is_no_choice(tags):
    found = choose(tags)
    assert found.loss == ""
    assert found.why
    assert "--loss-tag" in found.why or not tags


def test_the_users_choice_counts_and_a_wrong_one_is_said():
    assert choose({"loss_G": 100, "loss_D": 100}, "loss_D").loss == "loss_D"
    wrong = choose({"loss_G": 100, "loss_D": 100}, "loss_X")
    assert (wrong.loss, "`loss_X`" in wrong.why, "`loss_G`" in wrong.why) == ("", True, True)


@pytest.mark.parametrize(
    ("tag", "is_epoch"),
    [
        ("epoch", True), ("train/epoch", True), ("trainer/current_epoch", True), ("Epoch", True), ("epoch_num", True),
        ("time/epoch", False), ("val_loss_epoch", False), ("lr/epoch", False), ("epochs_left", False),
        ("valid_loss/epoch_0", False),
    ],
)  # fmt: skip
def test_the_epoch(tag, is_epoch):
    assert (choose({"loss": 10, tag: 10}).epochs == (tag,)) is is_epoch


@pytest.mark.parametrize(
    ("tag", "is_rate"),
    [
        ("lr", True), ("lr-AdamW/pg1", True), ("train/learning_rate", True), ("LearningRate", True), ("lr/pg0", True),
        ("lr-SGD-momentum", False), ("weight_decay_lr", False), ("lr_loss", False), ("clr", False),
    ],
)  # fmt: skip
def test_the_rate(tag, is_rate):
    assert (choose({"loss": 10, tag: 10}).rates == (tag,)) is is_rate


def test_rates_are_in_their_order():
    assert choose(dict.fromkeys(["loss", "lr/pg10", "lr/pg2", "lr/pg0"], 5)).rates == ("lr/pg0", "lr/pg2", "lr/pg10")


@pytest.mark.parametrize(
    ("tags", "held_out"),
    [
        (["train_loss", "val_loss", "val_acc"], "val_loss"),
        (["train_loss", "valid_loss_step/epoch_0", "valid_loss_epoch"], "valid_loss_epoch"),
        (["Loss/train", "Loss/val", "Loss/test"], ""),
        (["Loss/train"], ""),
    ],
)
def test_the_held_out_loss(tags, held_out):
    assert choose(dict.fromkeys(tags, 5)).held_out == held_out


@pytest.mark.parametrize(
    ("run", "held_out"),
    [("loss_val", True), ("x/validation", True), ("x/test", True), ("test_1", False), ("my test", False), ("train_val", False)],
)
def test_a_run_that_is_held_out_by_its_name(run, held_out):
    assert is_held_out(run) is held_out


def test_words_of_a_tag():
    assert words("Loss/trainStep_2") == ["loss", "train", "step", "2"]
    assert words("valloss") == ["val", "loss"]


def test_promising_wants_a_loss_and_something_that_tells_epochs():
    assert promising(["train_loss", "epoch"])
    assert promising(["train_loss", "val_acc"])
    assert promising(["train/loss", "train/train_loss", "train/epoch"])
    assert not promising(["loss"])
    assert not promising(["epoch", "accuracy"])
    assert not promising([])
