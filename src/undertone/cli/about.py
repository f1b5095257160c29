"""``list`` and ``doctor``: what there is, and what this machine has."""

from __future__ import annotations
