"""``prepare``, ``show``, ``audit``: from a corpus on disk to an audited manifest."""

from __future__ import annotations
