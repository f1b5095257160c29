"""The systems, over shared layers: one file each, and the batch they all take."""
