"""The causes that are tested, one module each, in the order of decisions.

The logger is tested before the training: first whether the log is one curve at all, then whether it shows the loss of
the batch. Then come proofs by equality, then regressions, then the learning rate, and last what is left over. To add
one: write the module (see `Cause` in analysis/context.py), put it into the tuple at its place, test it with a run that
has it, one that nearly has it and one that does not.
"""

from __future__ import annotations

from typing import cast

from tb_losslens.analysis.causes import (
    accumulation_remainder,
    bad_batch,
    bad_init,
    batch_noise,
    batchnorm_drift,
    class_imbalance,
    early_stop_premature,
    epochal_sawtooth,
    exploding_gradients,
    hidden_nonfinite,
    hidden_state_reset,
    incomplete_shuffle,
    input_shift,
    insufficient_data,
    label_noise,
    log_overlap,
    loss_misuse,
    lr_decrease,
    lr_increase,
    lr_too_high,
    lr_too_low,
    memorization,
    missing_zero_grad,
    optimizer_reset,
    outlier_samples,
    over_regularized,
    overfitting,
    partial_last_batch,
    planned_change,
    plateau_scheduler,
    repeated_augmentation,
    repeated_order,
    resume_discontinuity,
    running_mean,
    small_batch_noise,
    smoothed_metric,
    target_shift,
    unknown,
    validation_aggregation,
    validation_mismatch,
    validation_spike,
    vanishing_gradients,
    weights_swapped,
    wrong_mode,
)
from tb_losslens.analysis.context import Cause

CAUSES: tuple[Cause, ...] = tuple(
    cast("Cause", module)
    for module in (
        # the logger
        log_overlap,
        running_mean,
        smoothed_metric,
        validation_aggregation,
        hidden_nonfinite,
        # proofs by equality
        wrong_mode,
        missing_zero_grad,
        accumulation_remainder,
        weights_swapped,
        optimizer_reset,
        loss_misuse,
        resume_discontinuity,
        repeated_order,
        repeated_augmentation,
        partial_last_batch,
        hidden_state_reset,
        # regressions
        incomplete_shuffle,
        epochal_sawtooth,
        memorization,
        target_shift,
        input_shift,
        validation_mismatch,
        batchnorm_drift,
        bad_batch,
        outlier_samples,
        class_imbalance,
        # the model
        bad_init,
        vanishing_gradients,
        # the schedule
        lr_increase,
        lr_decrease,
        # what somebody changed
        over_regularized,
        planned_change,
        # symptoms, after what may be why
        exploding_gradients,
        lr_too_high,
        label_noise,
        insufficient_data,
        overfitting,
        early_stop_premature,
        plateau_scheduler,
        lr_too_low,
        validation_spike,
        # what is left
        small_batch_noise,
        batch_noise,
        unknown,
    )
)
