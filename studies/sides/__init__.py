"""Two classifiers as others publish them, to put together: transformers' own format, trained by our loop.

    UNDERTONE_DATA=… python -m studies.sides --out runs/sides

Whisper tiny.en with a head for audio classification, the encoder frozen, on RAVDESS' actors 1 to 7, and
MiniLM with one for sequences, its upper blocks tuned, on GoEmotions' training part. Their class names are
spelled differently and in another order. Actors 8 to 18 and GoEmotions' dev part are kept, for what is
measured with them.
"""
