"""What training frees stays at hand."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from undertone.training.device import keep_freed_memory

PROBE = """
import resource, sys
import torch
from undertone.training.device import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(8 << 20).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    torch.ones(8 << 20).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_an_array_that_comes_again_costs_fewer_new_pages() -> None:
    def pages(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    kept, left = pages("keep"), pages("leave")
    assert left > 30 * 1000, "nothing to gain on this system"
    assert kept < left / 2


def test_where_the_library_is_another_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
    keep_freed_memory.cache_clear()
