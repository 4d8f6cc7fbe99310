"""Every collector that a writer has from the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tb_losslens.record.collector import Collector
from tb_losslens.record.signals.batchnorm import BatchNorms
from tb_losslens.record.signals.checksum import Checksums
from tb_losslens.record.signals.class_losses import ClassLosses
from tb_losslens.record.signals.config_snapshot import ConfigSnapshots
from tb_losslens.record.signals.curvature import Curvature
from tb_losslens.record.signals.fingerprints import Fingerprints
from tb_losslens.record.signals.held_out_loss import HeldOutLoss
from tb_losslens.record.signals.input_signals import InputSignals
from tb_losslens.record.signals.inputs import InputMoments
from tb_losslens.record.signals.layers import Layers
from tb_losslens.record.signals.logged_loss import LoggedLoss
from tb_losslens.record.signals.loss_identity import LossIdentity
from tb_losslens.record.signals.micro_batches import MicroBatches
from tb_losslens.record.signals.movement import Movement
from tb_losslens.record.signals.optimizer_state import OptimizerState
from tb_losslens.record.signals.rng import RandomStates
from tb_losslens.record.signals.schedules import Schedules
from tb_losslens.record.signals.silent_criterion import SilentCriterion

if TYPE_CHECKING:
    from tb_losslens.record.watch import Watch

Facts = Callable[[Mapping[str, Any]], None]
Note = Callable[[str, str, Mapping[str, Any]], None]


def all_collectors(watch: Watch, facts: Facts, note: Note) -> list[Collector]:
    """The collectors, in the order in which they are told.

    Args:
        watch: what is watched, now and later.
        facts: records facts of the run.
        note: records an event by kind, text and fields.
    """

    def models() -> Any:
        return watch.forwards.models

    def optimizers() -> Any:
        return watch.updates.optimizers

    logged = LoggedLoss(lambda: watch.losses.criteria)
    movement = Movement(models, optimizers, facts)
    return [
        InputMoments(),
        MicroBatches(optimizers, lambda: watch.losses.scaler),
        Layers(movement, watch.scale, watch.losses.norms),
        Curvature(movement, watch.scale),
        BatchNorms(models, facts),
        OptimizerState(optimizers),
        Schedules(optimizers, lambda: watch.objects.schedulers, watch.found_schedulers),
        LossIdentity(lambda: watch.losses.criteria),
        ClassLosses(),
        logged,
        HeldOutLoss(logged),
        InputSignals(),
        Fingerprints(),
        Checksums(models),
        RandomStates(),
        ConfigSnapshots(lambda: watch.objects, note),
        SilentCriterion(note),
    ]
