"""Synthesised speech with planted emotion and exact boundaries: its script, voice and corpus."""
