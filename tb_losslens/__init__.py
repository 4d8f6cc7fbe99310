"""LossLens: why did the loss jump there, and what to do about it.

Names are loaded when they are first used: TensorBoard's process imports this package and must never import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tb_losslens.analysis.engine import diagnose
    from tb_losslens.analysis.finding import Boundary, Diagnosis, Finding
    from tb_losslens.errors import LossLensError
    from tb_losslens.record.writer import LossLensWriter
    from tb_losslens.store.logdir import load_runs
    from tb_losslens.store.run import Run

__version__ = "0.1.0"

__all__ = ["Boundary", "Diagnosis", "Finding", "LossLensError", "LossLensWriter", "Run", "__version__", "diagnose", "load_runs"]

_HOME = {
    "Boundary": "tb_losslens.analysis.finding",
    "Diagnosis": "tb_losslens.analysis.finding",
    "Finding": "tb_losslens.analysis.finding",
    "LossLensError": "tb_losslens.errors",
    "LossLensWriter": "tb_losslens.record.writer",
    "Run": "tb_losslens.store.run",
    "diagnose": "tb_losslens.analysis.engine",
    "load_runs": "tb_losslens.store.logdir",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
