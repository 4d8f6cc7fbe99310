"""Lets TensorBoard find LossLens; the only module that TensorBoard imports before it needs us.

An exception on import or in a flag hook would stop all of TensorBoard, other people's tabs included. So this module
imports nothing of our own, and a LossLens that cannot be loaded is one line in the log and a missing tab.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins import base_plugin

_NAME = "losslens"  # events.metadata.PLUGIN_NAME, repeated so that nothing of ours is imported here
_KEEP_ALL = 0


class LossLensLoader(base_plugin.TBLoader):  # type: ignore[misc]  # tensorboard ships no types
    """Entry point of the group `tensorboard_plugins`."""

    def fix_flags(self, flags: Any) -> None:
        """Asks TensorBoard to keep every chunk: by default it drops all but 10 (or 100) tensors of a tag.

        A value that the user gave for `losslens` is respected, and no other plugin's is touched.
        """
        hints = getattr(flags, "samples_per_plugin", None)
        if isinstance(hints, dict):
            hints.setdefault(_NAME, _KEEP_ALL)

    def load(self, context: Any) -> Any:
        """The plugin, or None where TensorBoard runs without a data provider or a dependency of ours is broken."""
        if getattr(context, "data_provider", None) is None:
            return None
        try:
            from tb_losslens.plugin.plugin import LossLensPlugin

            return LossLensPlugin(context)
        except Exception:  # whatever is broken in our dependencies, the other tabs must go on
            logging.getLogger(__name__).warning("LossLens could not be loaded; its tab is missing", exc_info=True)
            return None
