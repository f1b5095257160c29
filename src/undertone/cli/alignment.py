"""``align``: boundaries for a manifest that has none."""

from __future__ import annotations
