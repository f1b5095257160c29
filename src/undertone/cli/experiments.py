"""``train``, ``crossval``, ``report``, ``stress``, ``demo``: from a recipe to a table with intervals."""

from __future__ import annotations
