"""What a speech + text model is worth: every metric of its card, by the predictor that users call.

material  →  cases  →  scores  →  metrics  →  card and page
clips, sentences  made worse   predicted once, kept   one JSON   Markdown
"""
