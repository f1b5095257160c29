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
