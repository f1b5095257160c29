"""Encoders, and frames pooled into segments."""

from __future__ import annotations

ENCODERS: dict[str, str] = {
    "acoustic": "speech · log-mel, pitch, voicing and energy frames; no weights, ~100-400x real time a core",
    "egemaps": "speech · eGeMAPS low-level descriptors through openSMILE (extra 'smile', non-commercial)",
    "wav2vec2": "speech · wav2vec 2.0, by hub name or folder (facebook/wav2vec2-base, …)",
    "hubert": "speech · HuBERT (facebook/hubert-base-ls960, …)",
    "wavlm": "speech · WavLM (microsoft/wavlm-base-plus, microsoft/wavlm-large, …)",
    "data2vec-audio": "speech · data2vec audio (facebook/data2vec-audio-base, …)",
    "wav2vec2-bert": "speech · w2v-BERT 2.0 (facebook/w2v-bert-2.0)",
    "whisper": "speech · the encoder of Whisper (openai/whisper-base, …), at the clip's length or 30 s",
    "subword": "text · a small subword vocabulary fitted inside the fold; its embeddings live in the model",
    "bert": "text · BERT and kin with a fast tokenizer (bert-base-uncased, MiniLM, …)",
    "roberta": "text · RoBERTa (roberta-base, …)",
    "deberta-v2": "text · DeBERTa v2 and v3 (microsoft/deberta-v3-base, …)",
}
"""What ``undertone list encoders`` shows: names, or architectures that a folder or hub name may have."""

DOWNLOADS: dict[str, tuple[str, int]] = {
    "wav2vec2": ("facebook/wav2vec2-base", 95),
    "hubert": ("facebook/hubert-base-ls960", 95),
    "wavlm": ("microsoft/wavlm-base-plus", 94),
    "data2vec-audio": ("facebook/data2vec-audio-base", 93),
    "wav2vec2-bert": ("facebook/w2v-bert-2.0", 580),
    "whisper": ("openai/whisper-base", 73),
    "bert": ("bert-base-uncased", 110),
    "roberta": ("roberta-base", 125),
    "deberta-v2": ("microsoft/deberta-v3-base", 184),
}
"""Of each architecture: a hub name, and its millions of parameters, of four bytes each in a download."""
