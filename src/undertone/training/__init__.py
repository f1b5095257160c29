"""One training loop, its objective, and jobs for folds x seeds. Works on batches: no corpus, no audio."""
