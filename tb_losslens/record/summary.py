"""The text summary of a run: facts and a link that opens it in the LossLens tab."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from tb_losslens.record.disk.text import writable

_LOGDIRS = frozenset({"runs", "run", "logs", "log", "logdir", "tb", "tb_logs", "tensorboard", "lightning_logs"})
"""Names of directories that TensorBoard's `--logdir` most often points to."""

_ELSEWHERE = frozenset({"start", "version", "overhead", "elapsed", "loader", "sources", "lists"})
"""Facts that the tab shows in their place, or that are for readers of the files."""


def run_name(log_dir: str) -> str:
    """The name that TensorBoard gives the run in `log_dir`, as far as it can be known here.

    TensorBoard names a run by its path below its own `--logdir`. That is most often a directory called `runs` or `logs`, else
    the first directory of a relative path, or the parent of an absolute one.
    """
    path = PurePath(log_dir)
    parts = [part for part in path.parts if part not in (path.anchor, ".")]
    usual = [position for position, part in enumerate(parts) if part.lower() in _LOGDIRS]
    if usual:
        below = parts[usual[-1] + 1 :]
    elif path.is_absolute() or ".." in parts:
        below = parts[-1:]
    else:
        below = parts[1:]
    return "/".join(below) or "."


def link(name: str) -> str:
    """The address, inside TensorBoard's own page, of a run in the LossLens tab."""
    return f"#losslens&p.losslens.run={quote(name, safe='', errors='replace')}"


def markdown(name: str, facts: Mapping[str, Any]) -> str:
    """Facts of a run as a markdown table under a link, one short line for each; what is not known is left out."""
    known = {key: facts[key] for key in sorted(facts) if key not in _ELSEWHERE}
    table = "\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in _lines(known))
    head = f"**[Open this run in LossLens]({link(name)})**: why its loss moved at each epoch boundary.\n\n"
    return writable(head + (f"| fact | value |\n|---|---|\n{table}\n" if table else ""))


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of each fact; those inside another stand under its name, `optimizer lr`, and a class under it alone."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            for inner, text in _lines(value):
                yield (key if inner == "class" else f"{key} {inner.removeprefix('defaults ')}"), text
        elif value is not None:
            yield key, value if isinstance(value, str) else json.dumps(value, default=str)


def _cell(value: str) -> str:
    """One line, and nothing that would end the cell or be taken for markup."""
    text = value[:300].replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("`", "'")
