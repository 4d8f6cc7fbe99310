"""The text summary of a run: facts and a link that opens it in the LossLens tab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any
from urllib.parse import quote


def run_name(log_dir: str) -> str:
    """The name that TensorBoard gives the run in `log_dir`, as far as it can be known here.

    TensorBoard names a run by its path below its own `--logdir`. That is most often the first directory of a relative
    path, and the parent of an absolute one.
    """
    path = PurePath(log_dir)
    parts = [part for part in path.parts if part not in (path.anchor, ".")]
    if not parts or ".." in parts or path.is_absolute():
        return path.name or "."
    return "/".join(parts[1:]) or "."


def link(name: str) -> str:
    """The address, inside TensorBoard's own page, of a run in the LossLens tab."""
    return f"#losslens&p.losslens.run={quote(name, safe='')}"


def markdown(name: str, facts: Mapping[str, Any]) -> str:
    """Facts of a run as a markdown table under a link; keys that are not known are left out."""
    rows = [(key, _short(facts[key])) for key in sorted(facts) if key not in ("start", "version", "overhead", "loader")]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    head = f"**[Open this run in LossLens]({link(name)})**: why its loss moved at each epoch boundary.\n\n"
    return head + (f"| fact | value |\n|---|---|\n{table}\n" if rows else "")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {_short(item)}" for key, item in value.items() if item is not None)
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, default=str)
    # one line, and nothing that would end the cell or be taken for markup
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("`", "'")
    return text[:300]
