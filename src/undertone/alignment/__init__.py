"""Where words, syllables and phones begin and end: read, found, and checked."""
