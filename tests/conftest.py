"""What all tests share: the writers of corpus trees, and the way to the real recordings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings that UNDERTONE_DATA names; the test is skipped where there is none."""
    where = os.environ.get("UNDERTONE_DATA")
    if not where or not Path(where).is_dir():
        pytest.skip("UNDERTONE_DATA names no folder of real recordings")
    return Path(where)
