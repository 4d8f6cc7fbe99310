"""Answers what the backward that is on computes gradients for: not each one trains, and not each one fills `.grad`."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import nn

ACCUMULATES, RETURNS, ELSEWHERE = range(3)
"""Adds to `.grad` of parameters; gives those of parameters to the caller (`autograd.grad`); or those of other tensors only."""

_MOST_NODES = 512


def use_of_backward() -> int:
    """One of the three, by the first parameters that the graph leads to; to be called inside a hook of the backward.

    The engine is asked whether it will run the node that accumulates a parameter's gradient. A graph in which none is
    found among its first 512 nodes (a head that is frozen, a reentrant checkpoint) counts as one that accumulates.
    """
    first = torch._C._current_autograd_node()
    todo, seen, found = deque([first] if first is not None else []), {first}, ACCUMULATES
    while todo and len(seen) < _MOST_NODES:
        node = todo.popleft()
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            executed = _will_run(node)
            if executed:
                return ACCUMULATES
            found = RETURNS if executed is None or found == RETURNS else ELSEWHERE
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return found


def is_last_backward() -> bool:
    """True if the backward that is on frees its graph: nobody can go through it again."""
    return not torch._C._autograd._get_current_graph_task_keep_graph()


def inside_backward() -> bool:
    """True while a backward is on in this thread: a module that is called then is called again, by a checkpoint."""
    return torch._C._current_graph_task_id() >= 0


def _will_run(node: Any) -> bool | None:
    """None for a leaf whose gradient `autograd.grad` was asked for, about which the engine gives no answer."""
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:
        return None
