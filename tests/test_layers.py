"""Data flows one way through the package; this reads every import to hold it to that."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tb_losslens"

MAY_IMPORT = {
    "errors": set(),
    "strict_json": set(),
    "events": {"errors", "events"},
    "record": {"errors", "events", "record"},
    "integrations": {"errors", "events", "record", "integrations"},
    "store": {"errors", "events", "store"},
    "analysis": {"errors", "events", "store", "analysis"},
    "plugin": {"errors", "strict_json", "events", "store", "analysis", "plugin"},
    "report": {"errors", "strict_json", "events", "store", "analysis"},
    "html": {"errors", "events", "store", "analysis", "html"},
    "cli": {"errors", "events", "store", "analysis", "report", "html"},
}
TORCH = ("record/", "integrations/")
NO_TORCH = ("record/disk/",)
TENSORBOARD = ("record/", "events/metadata.py", "events/codec.py", "store/provider.py", "store/logdir.py", "plugin/")


def imports(source):
    """Every module that a file imports, wherever in it."""
    out = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            out += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where an arrow goes"
            out += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return out


def violations(path, source):
    """What file `path` (relative to the package) must not import, as sentences."""
    layer = path.split("/")[0].removesuffix(".py")
    out = []
    for module in imports(source):
        parts = module.split(".")
        if parts[0] == "tb_losslens" and len(parts) > 1 and parts[1] in MAY_IMPORT and parts[1] not in MAY_IMPORT[layer]:
            out.append(f"{path} imports {module}: {layer} must not know {parts[1]}")
        if parts[0] == "torch" and (path.startswith(NO_TORCH) or not path.startswith(TORCH)):
            out.append(f"{path} imports {module}: torch belongs to {', '.join(TORCH)}")
        if path.startswith(NO_TORCH) and parts[:2] == ["tb_losslens", "record"] and parts[2:3] != ["disk"]:
            out.append(f"{path} imports {module}: what writes files knows nothing of trainings")
        if parts[0] == "tensorboard" and not path.startswith(TENSORBOARD):
            out.append(f"{path} imports {module}: tensorboard belongs to {', '.join(TENSORBOARD)}")
    return sorted(set(out))


def files():
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py" and p.name != "losslens_pb2.py"]


@pytest.mark.parametrize("path", [p.relative_to(PACKAGE).as_posix() for p in files()])
def test_arrows_go_one_way(path):
    assert path.split("/")[0].removesuffix(".py") in MAY_IMPORT, f"{path} belongs to no layer"
    assert violations(path, (PACKAGE / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("analysis/x.py", "from tb_losslens.plugin import api"),
        ("analysis/x.py", "def f():\n    import torch"),
        ("store/run.py", "from tensorboard import errors"),
        ("record/x.py", "from tb_losslens.store.run import Run"),
        ("record/disk/x.py", "import torch"),
        ("cli.py", "import tensorboard.program"),
        ("events/x.py", "from tb_losslens import store"),
    ],
)
def test_a_wrong_arrow_is_found(path, source):
    assert violations(path, source)


def test_the_package_itself_loads_nothing_of_its_own_on_import():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [n for n in at_once if isinstance(n, ast.ImportFrom) and str(n.module).startswith("tb_losslens")]


def run_python(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_entry_point_loads_nothing_of_ours_but_itself():
    loaded = run_python(
        "import sys, tb_losslens.plugin.loader\nprint(*[m for m in sys.modules if m.startswith('tb_losslens') or m == 'torch'])"
    )
    assert sorted(loaded) == ["tb_losslens", "tb_losslens.plugin", "tb_losslens.plugin.loader"]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed, so nothing could import it")
def test_the_plugin_and_the_whole_reading_side_never_import_torch():
    loaded = run_python(
        """
import sys
import numpy as np
import tb_losslens
import tb_losslens.cli, tb_losslens.report, tb_losslens.plugin.plugin, tb_losslens.store.logdir
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.overlay import overlay
run = tb_losslens.Run.from_arrays(loss=np.random.default_rng(0).normal(5, 1, 600), epoch_length=100)
diagnosis = tb_losslens.diagnose(run)
diagnosis.to_dict(), diagnosis.to_markdown(), lens(run, diagnosis, 0, None), overlay(run, 100)
print(*[m for m in ("tb_losslens.plugin.plugin", "torch", "tensorflow", "tb_losslens.record.writer") if m in sys.modules])
"""
    )
    assert loaded == ["tb_losslens.plugin.plugin"]
