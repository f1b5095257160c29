"""Where words, syllables and phones begin and end: from files, or found in recordings by an aligner."""
