"""One loop, its objective, and folds x seeds. Sees batches only: no corpus, no audio."""
