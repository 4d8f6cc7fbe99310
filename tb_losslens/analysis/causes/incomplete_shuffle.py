"""The position of a batch in its epoch tells what is in it: the data is sorted, or mixed only within a window.

What it sees:
    Class mix or mean target of each batch against its position in the epoch, and the sample ids batch by batch. The order
    within a batch means nothing, so that an epoch of one batch has none.

Why it matters:
    The end of an epoch then holds other samples than the start of the next. The model has just been fitted to the former and
    meets the latter: the loss jumps at the boundary and falls again, in every epoch, and what was learned first is half
    forgotten.

How it decides:
    Analysis of variance of blocks of neighbouring batches within each epoch: in a shuffled epoch blocks differ no more than
    batches do. It asks for an effect (distance of the blocks from the whole epoch, beyond chance) and for p, corrected for
    the number of epochs; for one epoch alone for much more of both. From ids: what is left of the order of the data
    set, and the size of the shuffle buffer that leaves as much. It explains the jump if the relation of loss and content,
    fitted at cuts inside the epochs, predicts the jump at the boundaries, or if content changes far more there than at any
    other cut; or, where ids are left in order, if the boundaries take back what the loss does from the start to the end of each
    epoch: samples can lie in an order of difficulty that no class mix shows.

What to try:
    `shuffle=True`; a buffer as large as the data set; shards in a new order each epoch.

When it is wrong:
    Bucketing by length and a curriculum look the same and are meant. Where state is carried from batch to batch
    (`log_batch(loss, hidden=hidden)`), the order is kept on purpose, and nothing is said. Ids that are left in order are
    harmless if the data set itself has no order: where class mix or targets are known and flat, and the boundaries do not
    take back what the loss does within the epochs, this is called possible only. A loader that says `shuffle=False` is not
    called a bad shuffle: where nothing shows that the order matters, that is not checked.
    `python -m demo.healthy` counts false alarms. Batches that come back equal are `repeated_order`.

References:
    Fisher, analysis of variance. TensorFlow documentation, `Dataset.shuffle(buffer_size)`: perfect shuffling needs a buffer
    of at least the size of the data set. Oaxaca, Male-female wage differentials, 1973 (composition term).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.content import Content, Position, contents, position_effect, sample_weights
from tb_losslens.analysis.content_jump import ContentJump, content_jump
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.displacement import Displacement, displacement
from tb_losslens.analysis.explain import around, jumps
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.hidden_resets import carries_state
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.left_in_order import about_ids, left_in_order
from tb_losslens.analysis.loader_repair import repair_shuffle
from tb_losslens.analysis.orders import batch_of_ids, ids_of
from tb_losslens.analysis.position import profile
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, p_value, percent, plural, some
from tb_losslens.events.columns import how_to_record

ID = "incomplete_shuffle"
REQUIRES: tuple[str, ...] = ("loss", "epoch")


@dataclass(frozen=True)
class _Sorted:
    """One property whose position tells, with the epochs (positions in `run.epochs`) that show it."""

    content: Content
    effects: tuple[Position, ...]
    epochs: tuple[int, ...]

    @property
    def effect(self) -> float:
        return float(np.median([self.effects[k].effect for k in self.epochs]))

    @property
    def p(self) -> float:
        return float(np.median([self.effects[k].p for k in self.epochs]))


def find(
    context: Context,
    *,
    level: float = 1e-3,
    least_effect: float = 0.06,
    alone_level: float = 1e-9,
    alone_effect: float = 0.3,
    least_order: float = 0.3,
    least_share: float = 0.3,
    far: float = 2.0,
    apart: float = 0.4,
    most_orders: int = 20,
) -> Outcome:
    """Decides from content first, from ids second.

    Args:
        context: the run and its measurement.
        level: p that most epochs must reach, times their number.
        least_effect: distance of blocks from the epoch, beyond chance, that most epochs must reach.
        alone_level: p where fewer than half of the epochs show it.
        alone_effect: distance where fewer than half of the epochs show it.
        least_order: rank correlation of id and batch, or part of neighbours kept, that is an order left.
        least_share: part of the jump that content must predict.
        far: content at the boundary is extreme beyond this multiple of the 99 % quantile of other cuts.
        apart: or where it differs by this much, and by three times what random samples would: the two levels of the loss
            are then those of different samples.
        most_orders: epochs whose ids are looked at, evenly spaced; a sampler does not change its habit.
    """
    run = context.run
    if carries_state(run):
        return Checked(ID, f"state is carried from batch to batch, so the order of {len(run):,} batches is kept on purpose")
    known = contents(run)
    looked = np.unique(np.linspace(0, max(len(context.epochs) - 1, 0), most_orders).astype(int))[: len(context.epochs)].tolist()
    epochs = [context.epochs[k] for k in looked]
    ordered = [d for d in (displacement(ids_of(run, e), batch_of_ids(run, e)) for e in epochs) if d is not None]
    if not known and not ordered:
        return Skipped(ID, "neither classes, targets nor sample ids were recorded", how_to_record("classes"))
    weight = np.where(by_turn(run), sample_weights(run), 0.0)
    seen = []
    for content in known:
        effects = tuple(position_effect(content, weight, epoch) for epoch in context.epochs)
        seen.append(_Sorted(content, effects, _telling(effects, level, least_effect, alone_level, alone_effect)))
    kept = [d for d in ordered if _in_order(d, least_order)]
    kept = kept if 2 * len(kept) > len(ordered) else []
    found = [one for one in seen if one.epochs]
    if found:
        return _finding(context, max(found, key=lambda one: one.effect), kept, (least_share, far, apart))
    if kept:
        return left_in_order(context, kept, flat=bool(known))
    compared = ordered or any(position.blocks for one in seen for position in one.effects)
    return Checked(ID, _fine(seen, ordered)) if compared else Skipped(ID, _fine(seen, ordered), "")


def _telling(
    effects: tuple[Position, ...], level: float, least_effect: float, alone_level: float, alone_effect: float
) -> tuple[int, ...]:
    """Epochs in which position tells: most of them, or one that does so beyond doubt; else none."""
    count = len(effects)
    plain = tuple(k for k, e in enumerate(effects) if e.p * count < level and e.effect >= least_effect)
    if len(plain) > count / 2:
        return plain
    return tuple(k for k, e in enumerate(effects) if e.p * count < alone_level and e.effect >= alone_effect)


def _in_order(shift: Displacement, least_order: float, *, sigmas: float = 6.0) -> bool:
    clear = abs(shift.correlation) * math.sqrt(shift.samples) > sigmas
    return (clear and abs(shift.correlation) >= least_order) or shift.neighbours >= least_order


def _fine(seen: list[_Sorted], ordered: list[Displacement]) -> str:
    parts = []
    for one in seen:
        judged = [position.effect for position in one.effects if position.blocks]
        if not judged:
            parts.append(f"the {one.content.label} of too few batches was read, or is the same in all, to compare blocks")
            continue
        effect = median(np.array(judged))
        parts.append(f"blocks of neighbouring batches differ from the epoch by {_amount(one.content, effect)} beyond chance")
    if ordered:
        rho = median(np.array([d.correlation for d in ordered]))
        parts.append(f"the rank correlation of sample id and position is {number(rho, 2)}")
    return " and ".join(parts)


def _finding(context: Context, best: _Sorted, kept: list[Displacement], limits: tuple[float, float, float]) -> Finding:
    run, content = context.run, best.content
    shown = context.epochs[best.epochs[0]]
    # too few batches of the others were looked into to compare blocks; a sampler does not change its habit
    judged = {k for k, effect in enumerate(best.effects) if effect.blocks}
    unmixed = set(best.epochs) | (set(range(len(context.epochs))) - judged if 2 * len(best.epochs) > len(judged) else set())
    at = tuple(b.index for b in context.boundaries if {b.index, b.index + 1} <= unmixed)
    evidence = [
        Evidence(
            f"blocks of neighbouring batches differ from the whole epoch by {_amount(content, best.effect)} beyond chance "
            f"({p_value(best.p)}), in {len(best.epochs):,} of {plural(len(judged), 'epoch')}",
            content.signal,
            (shown.first, shown.last),
        )
    ]
    said, buffer = about_ids(kept)
    evidence += said
    against = [Evidence("sorting on purpose (bucketing by length, a curriculum) would look the same")]
    jump = content_jump(context, content) if at else None
    moved = bool(at) and jumps(context, at)
    share = None
    explains = False
    folded = profile(context) if kept and moved else None
    if jump is not None and moved:
        explains, share, sentence = _why(jump, content, limits, around(context.boundaries[at[0]]))
        (evidence if explains else against).append(sentence)
        if not explains and folded is not None and folded.explains():
            explains, share = True, folded.undone
            evidence.append(folded.in_words())
    elif at:
        against.append(Evidence(_ALIKE, "loss"))
    how, fix = repair_shuffle(context, buffer)
    alike = " Boundaries do not stand out, for the content changes inside the epochs too." if at and not moved else ""
    where = "" if len(unmixed) == len(context.epochs) else f" in epochs {some([context.epochs[k].epoch for k in best.epochs])}"
    return Finding(
        ID,
        "fault",
        "likely",
        "Position in the epoch predicts content",
        f"Samples are not mixed{where}: neighbouring batches differ from the epoch by {_amount(content, best.effect)}." + alike,
        score=0.9 if explains else 0.6,
        boundaries=at,
        steps=tuple(context.boundaries[k].step for k in at[:50]),
        share=share,
        explains_jump=explains,
        evidence=tuple(evidence),
        against=tuple(against),
        missing=() if run.has("sample_ids") else (how_to_record("sample_ids"),),
        advice=how,
        fix=fix,
        confirm=f"Print the {content.label} of the first and of the last batches of an epoch: they must agree afterwards.",
    )


_ALIKE = "the jumps at the boundaries are no larger than those inside the epochs, where the content changes as well"


def _amount(content: Content, distance: float) -> str:
    if content.signal == "classes":
        return f"{percent(distance)} of the class mix"
    return f"{number(distance, 2)} standard deviations of the target"


def _why(
    jump: ContentJump, content: Content, limits: tuple[float, float, float], span: tuple[int, int]
) -> tuple[bool, float | None, Evidence]:
    """(explains, share, sentence) of the jump from the content around it."""
    least_share, far, apart = limits
    others = f", across other cuts by {number(jump.inside, 2)}" if math.isfinite(jump.inside) else ""
    said = f"across a boundary it changes by {_amount(content, jump.at_boundary)}{others}"
    if jump.share is not None and jump.share >= least_share:
        said += f"; what that does to the loss inside the epochs predicts {percent(jump.share)} of the jump"
        said += ", a lower bound: what the model forgot in between comes on top"
        return True, jump.share, Evidence(said, content.signal, span)
    if jump.at_boundary > far * jump.inside_most:
        return True, None, Evidence(f"{said} (at most {number(jump.inside_most, 2)})", content.signal, span)
    if jump.at_boundary >= max(apart, 3 * jump.chance):
        said += f" ({number(jump.chance, 2)} if mixed): the two levels of the loss are those of different samples"
        return True, None, Evidence(said, content.signal, span)
    predicted = "no jump" if jump.share is None else f"{percent(jump.share)} of the jump"
    return False, jump.share, Evidence(f"{said}, which predicts {predicted}", content.signal, span)
