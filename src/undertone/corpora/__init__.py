"""One file a corpus: from a release on disk to utterances."""
