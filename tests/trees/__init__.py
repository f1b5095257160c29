"""Corpora laid out as their releases are, oddities and all, with made-up words and silent sound."""
