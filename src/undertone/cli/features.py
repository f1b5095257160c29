"""``extract`` and ``store``: every clip encoded once."""

from __future__ import annotations
