"""Which scalar of a plain log is the training loss, the held-out loss, the epoch and the learning rate: told by their names.

A name is taken only where it leaves no choice; of two that could be meant none is, and the sentence says how to choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_HELD_OUT = {"val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "heldout", "holdout"}
_LOSS = {"loss", "losses"}
_LIKE_A_LOSS = {"nll", "xent", "crossentropy", "cost", "objective", "elbo"}
_TRAIN = {"train", "training", "trn"}
_EACH = {"step", "steps", "batch", "iter", "iteration", "minibatch"}
_MEAN = {"avg", "average", "mean", "smooth", "smoothed", "ema", "running", "epoch", "epochs"}
_WHOLE = {"total", "all", "sum", "raw", "global", "metrics", "scalars", "metric"}
_EPOCH_WORDS = {*_TRAIN, "trainer", "current", "global", "epoch", "epochs", "num", "number", "idx", "index", "progress", "step"}
_NO_RATE = {"momentum", "decay", "mult", "multiplier", "scale", "beta", "weight", *_LOSS, *_HELD_OUT}
_NO_LOSS = {"lr", "rate", "epoch", "metrics", "metric", "acc", "accuracy", "time", *_HELD_OUT}
_MOST = 6
_FEW = 30
"""Points below which no scalar can have ten in each of three epochs."""


@dataclass(frozen=True)
class Tags:
    """The tags that are read.

    Attributes:
        loss: of the training loss, or "".
        why: a sentence on why there is none, else "".
        epochs: tags that may be the epoch.
        ends: losses that are written at the end of each epoch by their name.
        held_out: of the held-out loss, or "".
        rates: of learning rates, in order.
    """

    loss: str = ""
    why: str = ""
    epochs: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    held_out: str = ""
    rates: tuple[str, ...] = ()


def choose(points: Mapping[str, int], loss_tag: str | None = None) -> Tags:
    """The tags of a log with so many `points` of each; `loss_tag` is the user's own choice."""
    loss, why = _training_loss(points) if loss_tag is None else (loss_tag, "")
    if loss_tag is not None and loss_tag not in points:
        loss, why = "", f"it has no scalar `{loss_tag}`{_choice(points)}"
    rest = [tag for tag in sorted(points) if tag != loss]
    return Tags(
        loss,
        why,
        tuple(tag for tag in rest if _is_epoch(words(tag))),
        tuple(tag for tag in rest if _is_loss(words(tag)) and {"epoch", "epochs"} & set(words(tag)) and not _numbered(tag)),
        _held_out(rest, loss),
        tuple(sorted((tag for tag in rest if _is_rate(words(tag))), key=_natural)),
    )


def promising(tags: Iterable[str]) -> bool:
    """True if by their names one of the tags is a training loss, and others may tell where epochs begin."""
    found = choose(dict.fromkeys(tags, 1))
    losses = any(_is_loss(words(tag)) and not _HELD_OUT & set(words(tag)) for tag in tags)
    return losses and bool(found.epochs or found.ends or any(_HELD_OUT & set(words(tag)) for tag in tags))


def is_held_out(run: str) -> bool:
    """True for a run whose name ends as `add_scalars` and Keras name what was not trained on; "test" begins many names."""
    own = words(run.replace("\\", "/").rpartition("/")[2])
    return own == ["test"] or bool(own and own[-1] in _HELD_OUT - {"test", "testing"} and not _TRAIN & set(own))


def words(tag: str) -> list[str]:
    """The words of a tag, small: "Loss/trainStep_2" has loss, train, step and 2."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", tag)
    out = []
    for word in re.split(r"[^A-Za-z0-9]+", parted.lower()):
        for head in (*_TRAIN, *_HELD_OUT):
            if word.endswith("loss") and word == f"{head}loss":  # trainloss, valloss
                out += [head, "loss"]
                break
        else:
            out += [word] if word else []
    return out


def _training_loss(points: Mapping[str, int]) -> tuple[str, str]:
    """(the tag, "") or ("", why none)."""
    for names in (_LOSS, _LIKE_A_LOSS):
        found = [tag for tag in points if names & set(words(tag)) and not _HELD_OUT & set(words(tag))]
        if found:
            break
    else:
        few = max(points.values(), default=0)
        short = f"; none has more than {few:,} points, as if written once an epoch" if 0 < few < _FEW else ""
        return "", f"no scalar is named a training loss{_choice(points)}{short}"
    ranked = sorted(found, key=lambda tag: (_rank(tag, names), -points[tag], tag))
    best = ranked[0]
    alike = [tag for tag in ranked if _rank(tag, names) == _rank(best, names)]
    if len(alike) > 1 and (_rank(best, names)[1] or points[alike[1]] == points[best]):
        return "", f"{len(alike)} scalars may be the training loss ({_some(alike)}), and `--loss-tag TAG` chooses one"
    return best, ""


def _rank(tag: str, names: set[str]) -> tuple[int, int, int, int]:
    """Small for what is most likely the loss of each batch: a mean last, then a part, then one that does not say train."""
    own = set(words(tag))
    more = own - names - _TRAIN - _EACH - _MEAN - _WHOLE
    return len(own & _MEAN), len(more), int(not own & _TRAIN), int(not own & (_EACH | _WHOLE))


def _held_out(tags: Iterable[str], loss: str) -> str:
    """The held-out loss that is most like the training loss; "" where there is none, or two are equally like it."""
    own = set(words(loss)) - _TRAIN - _EACH - _MEAN
    others = [tag for tag in tags if _HELD_OUT & set(words(tag))]
    found = [tag for tag in others if _is_loss(words(tag)) or set(words(tag)) - _HELD_OUT - _MEAN == own]
    if not found:
        return ""
    far = {tag: len(own ^ (set(words(tag)) - _HELD_OUT - _MEAN)) for tag in found}
    near = sorted(found, key=lambda tag: (far[tag], tag))
    return near[0] if len(near) == 1 or far[near[0]] < far[near[1]] else ""


def _is_loss(own: list[str]) -> bool:
    return bool(_LOSS & set(own)) or bool(_LIKE_A_LOSS & set(own))


def _is_epoch(own: list[str]) -> bool:
    return bool({"epoch", "epochs"} & set(own)) and set(own) <= _EPOCH_WORDS


def _is_rate(own: list[str]) -> bool:
    named = "lr" in own or "learningrate" in own or ("learning" in own and "rate" in own)
    return named and not _NO_RATE & set(own)


def _numbered(tag: str) -> bool:
    """True for a tag that is another one in each epoch: valid_loss/epoch_0."""
    return any(word.isdigit() for word in words(tag))


def _natural(tag: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", tag)]


def _choice(points: Iterable[str]) -> str:
    """The scalars to choose from, those of the training first."""
    tags = sorted(points, key=lambda tag: (not _TRAIN & set(words(tag)), bool(_NO_LOSS & set(words(tag))), tag))
    return f" (`--loss-tag TAG` chooses one of {_some(tags)})" if tags else ", and no scalar at all"


def _some(tags: list[str]) -> str:
    named = ", ".join(f"`{tag}`" for tag in tags[:_MOST])
    return named + (f" and {len(tags) - _MOST} more" if len(tags) > _MOST else "")
