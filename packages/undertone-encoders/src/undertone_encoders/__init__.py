"""Pretrained encoders, packed, a folder each; there is no code here."""
