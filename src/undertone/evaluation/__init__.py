"""Metrics of runs, how far they can be trusted, and the report of them; nothing imports torch."""
