"""The time in which this thread ran: what a call costs, whatever else the machine does meanwhile."""

from __future__ import annotations

import time

_FINEST = 1e-5


def _is_fine() -> bool:
    try:
        return time.get_clock_info("thread_time").resolution <= _FINEST
    except ValueError:  # a platform without it
        return False


thread_time = time.thread_time if _is_fine() else time.perf_counter
"""Seconds. Where the clock of threads ticks in milliseconds, as on Windows, all time counts: calls take microseconds."""
