"""Waiting for something to become true, always with a deadline.

A fixed sleep is either too short on a loaded machine or wasted on an idle one, so tests state the
condition instead.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

INTERVAL_SECONDS = 0.02


class DeadlineExceeded(AssertionError):
    """The condition did not come true in time; an assertion, because it is a test's failure."""


def wait_until(condition: Callable[[], Result], what: str, seconds: float = 20.0) -> Result:
    """Ask `condition` until its answer is true, and return that answer."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(f"not within {seconds:g} s: {what}")
        time.sleep(INTERVAL_SECONDS)
