"""What training frees stays at hand, and a precision that the machine lacks is warned of."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from undertone.training import device
from undertone.training.config import TrainingConfig
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


def test_bf16_where_it_is_emulated_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device._precision(TrainingConfig(precision="bf16")) == "bf16"
    assert "emulated" in caplog.text
    caplog.clear()
    assert device._precision(TrainingConfig(precision="fp32")) == "fp32"
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: True)
    assert device._precision(TrainingConfig(precision="bf16")) == "bf16"
    assert not caplog.text
