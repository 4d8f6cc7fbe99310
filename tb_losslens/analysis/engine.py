"""From a run to its diagnosis: measure, ask each cause in order, rank, put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tb_losslens.analysis import plain
from tb_losslens.analysis.against import with_against
from tb_losslens.analysis.boundaries import nothing
from tb_losslens.analysis.causes import CAUSES, batch_noise, running_mean, unknown
from tb_losslens.analysis.context import Cause, Context, Outcome
from tb_losslens.analysis.finding import Checked, Diagnosis, Finding, Pooled, Skipped
from tb_losslens.analysis.jump import measure
from tb_losslens.analysis.mean_curve import de_averaged
from tb_losslens.analysis.noted import notes_at, with_notes
from tb_losslens.analysis.ranking import marked, ranked
from tb_losslens.analysis.recordable import helpful
from tb_losslens.analysis.samples import samples
from tb_losslens.analysis.shifts import quiet_inside
from tb_losslens.analysis.state_inputs import without_state
from tb_losslens.analysis.stats import noise
from tb_losslens.analysis.unchanged import unchanged_weights
from tb_losslens.analysis.unchecked import unchecked
from tb_losslens.analysis.verdict import in_words, nothing_learned
from tb_losslens.events.columns import BY_NAME, how_to_record
from tb_losslens.store.run import Run
from tb_losslens.store.uncollected import uncollected


def diagnose(run: Run, *, causes: Sequence[Cause] = CAUSES) -> Diagnosis:
    """Everything that can be said of one run.

    The causes are asked in the order of `causes`; each sees what was decided before it. Once the logged loss turns
    out to be a running mean, the causes after it judge the loss taken apart; the boundaries that are returned remain
    those of the curve as it was logged, since that is the one on the screen.
    """
    with uncollected():
        return _diagnose(run, causes)


def _diagnose(run: Run, causes: Sequence[Cause]) -> Diagnosis:
    why = nothing(run)
    if why:
        pooled, headline = Pooled(reason=why), why.split(". ", maxsplit=1)[0].rstrip(".") + "."
        return Diagnosis(
            run.name,
            why,
            "unknown",
            headline,
            why.removeprefix(headline).strip(),
            short="no batch",
            pooled=pooled,
            problems=run.problems,
            plain=run.plain,
        )
    run = without_state(run)
    first = build_context(run)
    context = first
    outcomes: list[Outcome] = []
    for cause in causes:
        decided = decide(cause, replace(context, earlier=tuple(outcomes)))
        if run.plain:
            decided = plain.decided(run, cause.ID, decided, refused=first.pooled.reason)
        outcomes += decided
        mean = next((o for o in decided if isinstance(o, Finding) and o.cause == running_mean.ID), None)
        if mean is not None and not run.has("logged_loss"):
            context = build_context(de_averaged(run, mean.detail))
    requires = {cause.ID: cause.REQUIRES for cause in causes}
    outcomes = [helpful(run, outcome, requires.get(outcome.cause, ())) for outcome in outcomes]
    still = unchanged_weights(run)
    if still is not None:
        outcomes = [_no_comfort(outcome) for outcome in outcomes]
    findings = ranked(o for o in outcomes if isinstance(o, Finding))
    boundaries, pooled = marked(first.boundaries, first.pooled, findings), first.pooled
    findings = with_against(findings, boundaries)
    notes = notes_at(run, boundaries)
    words = in_words(pooled, boundaries, findings, len(run), notes=notes, inside=quiet_inside(run))
    if still is not None:
        words = nothing_learned(still, words)
    findings = with_notes(findings, notes)
    open_still = unchecked(run, words.kind, words.verdict, outcomes)
    if run.plain:
        words, open_still = plain.worded(run, words, boundaries, pooled), plain.not_checked(outcomes)
        outcomes = [plain.in_words(run, outcome) for outcome in outcomes]
        findings = tuple(f for finding in findings if isinstance(f := plain.in_words(run, finding), Finding))
        boundaries, pooled = plain.marks_in_words(run, boundaries, pooled)
    return Diagnosis(
        run=run.name,
        verdict=words.verdict,
        kind=words.kind,
        headline=words.headline,
        subline=words.subline,
        aside=words.aside,
        short=words.short,
        boundaries=boundaries,
        pooled=pooled,
        findings=findings,
        # nobody can check for the unknown: it is what is left
        checked=tuple(o for o in outcomes if isinstance(o, Checked) and o.cause != unknown.ID),
        skipped=tuple(o for o in outcomes if isinstance(o, Skipped) and o.cause != unknown.ID),
        unchecked=open_still,
        problems=plain.problems(run) if run.plain else run.problems,
        batches=len(run),
        epochs=len(run.epochs),
        plain=run.plain,
        samples=samples(run),
    )


def _no_comfort(outcome: Outcome) -> Outcome:
    """Noise as what was checked: "nothing to fix" is no answer where the weights do not change."""
    if isinstance(outcome, Finding) and outcome.cause == batch_noise.ID:
        return Checked(outcome.cause, outcome.text)
    return outcome


def build_context(run: Run) -> Context:
    """The measurement that all causes start from."""
    boundaries, pooled = measure(run)
    return Context(run, run.epochs, boundaries, pooled, noise(run.loss), measure)


def decide(cause: Cause, context: Context) -> list[Outcome]:
    """What one cause says; `Skipped` if a column that it requires was not recorded, or if it fails."""
    lacking = [name for name in cause.REQUIRES if not context.run.has(name)]
    if lacking:
        labels = " and ".join(BY_NAME[name].label if name in BY_NAME else name for name in lacking)
        if all(context.run.recorded(name) for name in lacking):
            return [Skipped(cause.ID, f"needs {labels}, which {'is' if len(lacking) == 1 else 'are'} NaN in every batch", "")]
        how = "; ".join(dict.fromkeys(how_to_record(name) for name in lacking))
        return [Skipped(cause.ID, f"needs {labels}, which {'was' if len(lacking) == 1 else 'were'} not recorded", how)]
    try:
        outcome = cause.find(context)
    except Exception as error:  # noqa: BLE001 - a cause that fails must not take the verdicts of the others along
        return [Skipped(cause.ID, f"failed on this run: {type(error).__name__}: {error}", "")]
    return outcome if isinstance(outcome, list) else [outcome]
