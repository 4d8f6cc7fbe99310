"""Makes once what several tests ask for."""

from __future__ import annotations

import copy
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ParamSpec

import torch

from tb_losslens.store.run import Ragged, Run

P = ParamSpec("P")

MOST = 48
"""Runs that a process keeps of one function."""

_PLAIN = (str, int, float, bool, type(None))
_DIRECTORY = "directory"


def once(function: Callable[P, Run]) -> Callable[P, Run]:
    """`function`, whose run is made once for the same arguments, however they are spelled.

    Plain are numbers, words, functions of a module and defaults; a run that was made with anything else is made each time. Each
    test is given a copy, and the random numbers of torch go on after it as if it had been made. An argument `directory` says
    where it is recorded, if it is: for whoever asks later nothing is written there.
    """
    signature = inspect.signature(function)
    kept: OrderedDict[tuple[tuple[str, type, Any], ...], tuple[Run, torch.Tensor]] = OrderedDict()

    @functools.wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Run:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        options = dict(bound.arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                options |= options.pop(parameter.name)
        options.pop(_DIRECTORY, None)
        if not all(_is_plain(value) or value is _default(signature, name) for name, value in options.items()):
            return function(*args, **kwargs)
        key = tuple(sorted(((name, type(value), value) for name, value in options.items()), key=lambda item: item[0]))
        if key not in kept:
            kept[key] = _copy(function(*args, **kwargs)), torch.get_rng_state()
            if len(kept) > MOST:
                kept.popitem(last=False)
        kept.move_to_end(key)
        run, state = kept[key]
        torch.set_rng_state(state)
        return _copy(run)

    return made


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    if inspect.isfunction(value):  # neither a lambda nor within a function: there may be many of one name
        return "<" not in value.__qualname__
    return isinstance(value, _PLAIN)


def _default(signature: inspect.Signature, name: str) -> Any:
    return signature.parameters[name].default if name in signature.parameters else inspect.Parameter.empty


def _copy(run: Run) -> Run:
    return replace(
        run,
        columns={name: column.copy() for name, column in run.columns.items()},
        ragged={name: Ragged(lists.values.copy(), lists.offsets.copy()) for name, lists in run.ragged.items()},
        events=copy.deepcopy(run.events),
        facts=copy.deepcopy(run.facts),
    )
