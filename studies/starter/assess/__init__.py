"""What a speech + text model is worth: every figure of its card, measured through its public face.

material  →  questions  →  scores  →  figures  →  card and page
clips, sentences  made worse   asked once, kept   one JSON   Markdown
"""
