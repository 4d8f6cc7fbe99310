"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from tensorboard.plugins import base_plugin

from tb_losslens.analysis.causes import CAUSES
from tb_losslens.events.columns import SIGNALS
from tb_losslens.plugin.plugin import LossLensPlugin
from tests import docs

ROOT = Path(__file__).resolve().parents[1]


def test_tables_are_those_of_the_code() -> None:
    readme, signals = docs.README.read_text(), docs.SIGNAL_LIST.read_text()
    assert (readme, signals) == (docs.written(readme), docs.written(signals)), "run `python -m tests.docs`"
    for cause in CAUSES:
        assert f"| `{cause.ID}` |" in readme
    for signal in SIGNALS:
        assert f"| `{signal.name}` |" in signals


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.ID)
def test_each_cause_has_the_six_headings(cause: object) -> None:
    text = docs.sections(cast("ModuleType", cause))
    assert tuple(text)[1:] == docs.HEADINGS
    assert all(len(part) > 10 for part in text.values())


def test_the_changelog_names_each_cause() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [cause.ID for cause in CAUSES if f"`{cause.ID}`" not in text] == []


def test_http_api_describes_each_route() -> None:
    api = (ROOT / "tb_losslens" / "plugin" / "http_api.md").read_text()
    described = set(re.findall(r"^## `/(\w+)", api, flags=re.MULTILINE))
    plugin = LossLensPlugin(base_plugin.TBContext(logdir=""))
    assert {path.split("/")[1] for path in plugin.get_plugin_apps()} == described


def test_files_that_the_documents_link_to_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            if "://" not in target:
                assert (ROOT / target).exists(), f"{name} links to {target}"
