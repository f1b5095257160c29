"""``predict``, ``serve``, ``export``: a model in people's hands."""

from __future__ import annotations
