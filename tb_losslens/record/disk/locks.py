"""Who still writes a tail: its writer holds a lock on it, which ends with the process however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(fd: int) -> bool | None:
    """Takes the lock of an open file without waiting.

    True if it is ours now, False if another process holds it, None if the file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_dead(header: Mapping[str, Any]) -> bool:
    """True if the process that a tail's header names ran on this machine and runs no more."""
    pid = header.get("pid")
    if header.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
