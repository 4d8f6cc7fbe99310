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


def once(function: Callable[P, Run]) -> Callable[P, Run]:
    """`function`, whose run is made once for the same plain arguments, however they are spelled.

    A run that was made with a function or anything else that is not plain is made each time. Each test is given a copy, and the
    random numbers of torch go on after it as if it had been made.
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
        if not all(isinstance(value, _PLAIN) for value in options.values()):
            return function(*args, **kwargs)
        key = tuple(sorted((name, type(value), value) for name, value in options.items()))
        if key not in kept:
            kept[key] = function(*args, **kwargs), torch.get_rng_state()
            if len(kept) > MOST:
                kept.popitem(last=False)
        kept.move_to_end(key)
        run, state = kept[key]
        torch.set_rng_state(state)
        return replace(
            run,
            columns={name: column.copy() for name, column in run.columns.items()},
            ragged={name: Ragged(lists.values.copy(), lists.offsets.copy()) for name, lists in run.ragged.items()},
            events=copy.deepcopy(run.events),
            facts=copy.deepcopy(run.facts),
        )

    return made
