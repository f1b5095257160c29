"""Training asks for arrays of tens of MB and gives them back, many times a step."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers for ``mallopt``."""
_LARGEST, _AHEAD = 1 << 30, 1 << 26
"""Arrays below 1 GB come from the kept memory, which grows by 64 MB at a time."""


@cache
def keep_freed_memory() -> bool:
    """Let this process use freed memory again rather than hand it back; was the C library willing?

    glibc maps every large array anew, and the system then clears it page by page as it is first written:
    a fifth of a training step on a CPU. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    choices = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, 2 * _LARGEST - 1), (_TOP_PAD, _AHEAD))
    return {mallopt(name, value) for name, value in choices} == {1}
