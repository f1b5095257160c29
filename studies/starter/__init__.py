"""The model in the box: real recordings and sentences in, a small model for both out."""
