"""ReduceLROnPlateau cuts the learning rate while the training still goes downhill, or keeps it long after it has stopped.

What it sees:
    The settings of the scheduler, how often it was stepped, the LR of each batch, every loss that it can have been given, and
    the slope of the loss along each update, as the next batch saw it.

Why it matters:
    The scheduler takes a metric that is not better than its best for a plateau. A spike or the noise of one batch is enough for
    a short patience: some cuts later the LR is so small that the rest of the training changes nothing. A patience that is
    too long does the opposite: the weights bounce at a level that a lower LR would leave at once.

How it decides:
    First which metric it follows: the rule of the scheduler is replayed, with its own settings, on each loss that was recorded,
    and must give the LR of every batch exactly. Without such a metric nothing is judged. Too eager is a cut where the slope
    along the updates before it was clearly negative (5 standard errors: the minimum lay ahead), at a rate that would have
    brought a seventh of what the run learned in the batches that were left, of which less than half came; where too few slopes
    were read, the losses themselves must have been falling as clearly. Where it follows the held-out loss, that must go on
    falling after the cut, as the training loss does. A mode of "max" for a loss is an error of its own: where its cuts took the
    LR to a hundredth before half of the batches, and the held-out loss had halved until then. Too late is a cut with which the
    loss falls by a seventh of what the run learned, six standard errors at least, after it had stood still for half of the run
    and more.

What to try:
    A patience in which the fall outgrows the noise of the metric; the mean loss of an epoch instead of that of a batch; the
    `mode` that belongs to the metric.

When it is wrong:
    A plateau that no cut ended is not judged: nobody knows what a cut would have brought. A metric that was not recorded,
    such as an accuracy, is known only where it never got better than at first. Of a held-out loss too noisy to tell
    overfitting from a cut on noise, the slope along the updates decides: what one batch teaches of others is not learned by
    heart. False-alarm rate: none on healthy trainings so far.
    A loss that falls with a cut is `lr_decrease`.

References:
    PyTorch documentation, `ReduceLROnPlateau`. Pflug, Non-asymptotic confidence bounds for stochastic approximation algorithms
    with constant step size, 1990. Chee and Toulis, Convergence diagnostics for stochastic gradient descent, 2018.
"""

from __future__ import annotations

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Skipped
from tb_losslens.analysis.plateau import HELD_OUT, PLATEAU, Followed, Settings, followed, settings_of
from tb_losslens.analysis.plateau_cuts import Cut, cuts_of, generalises
from tb_losslens.analysis.plateau_mode import loss_under_max, loss_under_max_finding
from tb_losslens.analysis.plateau_report import too_eager, too_late
from tb_losslens.analysis.schedule import scheduler_class
from tb_losslens.analysis.text import number, plural
from tb_losslens.events.columns import how_to_record

ID = "plateau_scheduler"
REQUIRES: tuple[str, ...] = ("loss", "lr")

_LOG = 'writer.add_scalar("Loss/val", value, epoch)     # the number that scheduler.step gets'


def find(
    context: Context,
    *,
    errors: float = 5.0,
    least: float = 0.15,
    most: float = 0.5,
    kept: float = 0.5,
    wrong: int = 3,
) -> Outcome:
    """One finding, or what the cuts met.

    Args:
        context: the run and its measurement.
        errors: standard errors of the slope along the updates, from which on it is clear.
        least: part of what the run learned that was to come, or that a late cut brought.
        most: part of it that came after all, at most.
        kept: part of the run for which the LR was kept on a plateau.
        wrong: cuts at equal distances that tell a metric that never got better.
    """
    run = context.run
    settings = settings_of(run)
    if settings is None:
        name = scheduler_class(context)
        said = f"the scheduler is {name}, 0 cuts are those of a plateau" if name else f"0 steps of a {PLATEAU} were seen"
        return Checked(ID, said)
    if len(run.sessions) > 1 or any(event.kind == "restore" for event in run.events):
        return Skipped(ID, "the run was taken up again, and what the scheduler knew then is not known", "")
    fits = followed(context, settings)
    if not fits:
        return Skipped(ID, "no loss that was recorded, given to its rule, makes the cuts that were made", _LOG)
    one = fits[0]
    if not one.cuts:
        return Checked(ID, _none(settings, one))
    backwards = loss_under_max(run, settings, fits)
    cuts = cuts_of(run, settings, one)
    if backwards is None and not any(cut.slope.errors for cut in cuts):
        why = "too few batches lie before its cuts, or too few updates were read there"
        return Skipped(ID, why, how_to_record("grad_dot_update"))
    never = wrong_way(settings, fits, wrong)
    for cut in cuts:
        limit = 1.0 if never else most
        eager = cut.too_eager(errors=errors, least=least, most=limit)
        if eager and (never or one.metric != HELD_OUT or generalises(run, cut.row, cut.learned, first=cut.first)):
            return too_eager(context, settings, one, cut, wrong_way=never, cause=ID)
    if backwards is not None:
        return loss_under_max_finding(run, settings, *backwards, cause=ID)
    for cut in cuts:
        if one.metric and cut.too_late(len(run), least=least, kept=kept):
            return too_late(context, settings, one, cut, cause=ID)
    return Checked(ID, _fine(settings, one, cuts))


def wrong_way(settings: Settings, fits: list[Followed], least: int) -> bool:
    """True if the cuts are those of a metric that never got better, `least` of them, and the losses fell or were not followed.

    Under mode "max" a loss that falls never does; under "min" an accuracy that rises does not.
    """
    never = [one for one in fits if not one.metric]
    return bool(never) and len(never[0].cuts) >= least and (settings.mode == "max" or len(fits) == 1)


def _fine(settings: Settings, one: Followed, cuts: list[Cut]) -> str:
    """What the first cut met, in words."""
    cut = cuts[0]
    metric = one.metric or "a metric that never got better"
    said = f"{plural(len(one.cuts), 'cut')} by a patience of {settings.patience} on {metric}"
    slope = f"the slope along the updates before the first is {number(cut.slope.errors, 2)} standard errors from 0"
    return f"{said}; {slope}, and the loss falls by {number(cut.came)} after it"


def _none(settings: Settings, one: Followed) -> str:
    """Of a scheduler that made no cut."""
    count = plural(len(one.values), "step")
    open_still = "what one would have brought is not known"
    if settings.patience >= len(one.values):
        return f"a patience of {settings.patience} cannot be spent in {count}: 0 cuts, and {open_still}"
    return f"{PLATEAU} with patience {settings.patience} made 0 cuts in {count}: {open_still}"
