"""Serves the built page: the files that lie in plugin/static/, and nothing else on the machine."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".txt": "text/plain",
}


class Asset(NamedTuple):
    """A file as it is sent: gzipped, and its media type."""

    gzipped: bytes
    content_type: str


def find(name: str, *, directory: Path = STATIC) -> Asset | None:
    """The built file called `name`, or None.

    The name is compared with those that lie in the directory and is never made part of a path, so no spelling of `..`
    leads anywhere; links, hidden files and files of other types are not served.
    """
    if not directory.is_dir():
        return None
    for path in directory.iterdir():
        served = path.suffix in _TYPES and not name.startswith(".") and path.is_file() and not path.is_symlink()
        if path.name == name and served:
            return Asset(_gzipped(path, path.stat().st_mtime_ns), _TYPES[path.suffix])
    return None


@lru_cache(maxsize=64)
def _gzipped(path: Path, _modified: int) -> bytes:
    return gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
