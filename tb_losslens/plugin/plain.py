"""Plain logs beside recordings: runs of ordinary scalars whose event files lie on this machine, read from these files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path, PurePosixPath

from tb_losslens.errors import LossLensError
from tb_losslens.plugin.cache import RunSource
from tb_losslens.store.logdir import event_files, is_tail
from tb_losslens.store.plain import plain_run
from tb_losslens.store.plain_tags import promising
from tb_losslens.store.run import Run


class WithPlainLogs:
    """Recorded runs, and those plain ones whose scalars are named as a training loss and as what tells epochs.

    TensorBoard keeps 1,000 points of a scalar, in which no boundary can be measured: so only a log directory on this machine is
    read, from its files.

    Args:
        recorded: where recorded runs come from.
        tags: the scalars of each run, as TensorBoard knows them. Cheap.
        logdir: TensorBoard's log directory, "" where it is not one directory.
    """

    def __init__(self, recorded: RunSource, tags: Callable[[], Mapping[str, list[str]]], logdir: str) -> None:
        self._recorded = recorded
        self._tags = tags
        self._logdir = Path(logdir) if logdir and Path(logdir).is_dir() else None

    def tokens(self) -> dict[str, Hashable]:
        """Each run with a value that changes whenever it does; of a plain one the sizes of its files."""
        out = dict(self._recorded.tokens())
        if self._logdir is None:
            return out
        above = {PurePosixPath(name) for name in out}
        for name, tags in self._tags().items():
            below = name in out or not above.isdisjoint(list(PurePosixPath(name).parents)[:-1])
            directory = None if below or not promising(tags) else self._directory(name)
            if directory is not None and not any(is_tail(path.name) for path in directory.iterdir()):
                files = event_files(directory)  # a tail is that of a recording which TensorBoard has not loaded yet
                out[name] = tuple((path.name, path.stat().st_size) for path in files)
        return out

    def read(self, name: str) -> Run:
        """The whole run as it is now.

        Raises:
            LossLensError: if there is no such run any more.
        """
        if name in self._recorded.tokens():
            return self._recorded.read(name)
        directory = self._directory(name)
        if directory is None:
            raise LossLensError(f"There is no run {name!r}.")
        return plain_run(directory, name)

    def forget(self, name: str) -> None:
        """Drops what is kept to read a recorded run again faster; of a plain one nothing is."""
        self._recorded.forget(name)

    def _directory(self, name: str) -> Path | None:
        if self._logdir is None:
            return None
        directory = self._logdir / name
        inside = directory.resolve().is_relative_to(self._logdir.resolve())
        return directory if inside and directory.is_dir() else None
