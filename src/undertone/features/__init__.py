"""Encoders, and frames pooled into segments."""
