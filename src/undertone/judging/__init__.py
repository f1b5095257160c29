"""From a model folder to answers about recordings: one way, driven by the predictor, the server and Ray.

samples ─ vad ─▶ probability of speech, 31 a second
              ─ windows ─▶ overlapping clips of the stretches of speech
                         ─ model ─▶ a posterior for each clip
                                   ─ timeline ─▶ cells, final as soon as nothing can change them
"""
