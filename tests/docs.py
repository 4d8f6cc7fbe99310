"""The parts of README.md and docs/ that follow from the code: `python -m tests.docs` writes them anew."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import cast

from tb_losslens.analysis.causes import CAUSES
from tb_losslens.events.columns import SIGNALS

ROOT = Path(__file__).resolve().parents[1]
README, SIGNAL_LIST = ROOT / "README.md", ROOT / "docs" / "signals.md"
HEADINGS = ("What it sees", "Why it matters", "How it decides", "What to try", "When it is wrong", "References")


def sections(module: ModuleType) -> dict[str, str]:
    """First line (key "") and the text under each of the six headings of a cause's docstring, each on one line."""
    doc = inspect.cleandoc(module.__doc__ or "")
    parts = re.split(rf"^({'|'.join(HEADINGS)}):\s*$", doc, flags=re.MULTILINE)
    texts = [" ".join(part.split()) for part in parts]
    return {"": texts[0], **dict(zip(texts[1::2], texts[2::2], strict=True))}


def causes_table() -> str:
    """One row a cause, in the order of decisions."""
    rows = []
    for cause in CAUSES:
        text = sections(cast("ModuleType", cause))
        rows.append(f"| `{cause.ID}` | {text['']} | {text['What to try']} |")
    return "\n".join(["| cause | what it means | what to try |", "|---|---|---|", *rows])


def signals_table() -> str:
    """One row a signal."""
    rows = [f"| `{s.name}` | {s.meaning}{f' ({s.unit})' if s.unit else ''} | `{s.how}` |" for s in SIGNALS]
    return "\n".join(["| each batch | what it is | recorded by |", "|---|---|---|", *rows])


def written(text: str) -> str:
    """A document with its generated parts as they should be."""
    for name, table in (("causes", causes_table()), ("signals", signals_table())):
        text = re.sub(
            rf"<!-- {name} -->\n(?:\|.*\n)*", lambda _, name=name, table=table: f"<!-- {name} -->\n{table}\n", text, count=1
        )
    return text


if __name__ == "__main__":
    for document in (README, SIGNAL_LIST):
        document.write_text(written(document.read_text()))
