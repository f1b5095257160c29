"""Long recordings: where speech is, windows over it, a timeline; the same code for files and streams.

samples ─ vad ─▶ probability of speech, 31 a second
              ─ regions ─▶ stretches of speech, as they open and close
                         ─ windows ─▶ overlapping clips for the model
                                    ─ timeline ─▶ cells, final as soon as nothing can change them
"""
