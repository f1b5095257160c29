"""``audit``: what would make a result too good to be true."""

from __future__ import annotations
