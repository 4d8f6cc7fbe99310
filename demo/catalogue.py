"""Every demo run by name: which module trains it, and its true answer."""

from __future__ import annotations

from types import ModuleType

from demo.causes import (
    cosine_restarts,
    dropout_raised,
    forgot_train_mode,
    forgotten_within_a_pass,
    healthy_baseline,
    nan_logged_as_zero,
    optimizer_rebuilt,
    other_data_through_batchnorm,
    overfitting,
    plateau_per_batch,
    relabelled,
    softmax_twice,
    sorted_data,
    validation_of_last_batch,
)
from demo.expect import Expect
from demo.seeds import (
    adam_at_0_1,
    bad_batches_500_to_520,
    batch_loss_or_epoch_mean,
    batch_size,
    batchnorm_batch_size,
    deep_model,
    flipped_labels,
    gradient_clipping,
    lr_raised_and_cut,
    plateau_on_epoch_loss,
    random_scaling,
    shuffle_off_then_on,
    shuffle_once,
    step_lr,
    validation_spike,
)

SEEDS: tuple[ModuleType, ...] = (
    shuffle_off_then_on,
    step_lr,
    random_scaling,
    batch_loss_or_epoch_mean,
    batch_size,
    plateau_on_epoch_loss,
    adam_at_0_1,
    flipped_labels,
    deep_model,
    validation_spike,
    batchnorm_batch_size,
    shuffle_once,
    lr_raised_and_cut,
    bad_batches_500_to_520,
    gradient_clipping,
)
"""The fifteen experiments of the articles, in their order."""

CAUSES: tuple[ModuleType, ...] = (
    cosine_restarts,
    healthy_baseline,
    forgot_train_mode,
    sorted_data,
    optimizer_rebuilt,
    nan_logged_as_zero,
    validation_of_last_batch,
    softmax_twice,
    relabelled,
    other_data_through_batchnorm,
    overfitting,
    dropout_raised,
    plateau_per_batch,
    forgotten_within_a_pass,
)
"""Trainings beyond the articles."""

MODULE_OF: dict[str, ModuleType] = {run: module for module in (*CAUSES, *SEEDS) for run in module.EXPECT}
"""The module that trains each run."""

EXPECT: dict[str, Expect] = {run: expect for module in (*CAUSES, *SEEDS) for run, expect in module.EXPECT.items()}
"""The true answer of each run."""
