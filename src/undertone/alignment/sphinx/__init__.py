"""An English aligner over the acoustic model in the pocketsphinx wheel."""
