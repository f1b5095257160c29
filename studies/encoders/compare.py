"""What packing does to features and words: packed and original networks on the same recordings."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["compare", "words_wrong"]

CORPORA = ("ravdess", "emodb", "timit_sample", "nemo")


def compare(
    original: Path, packed: Path, data: Path, text: bool, clips: int = 4, sentences: int = 100
) -> list[float]:
    """The difference of each hidden state that both have, relative to its spread, on so many clips a corpus.

    The root mean square of the difference over that of the deviation from the mean over all frames.
    """
    if text:
        ours, theirs = (_text_states(folder, data, sentences) for folder in (packed, original))
    else:
        ours, theirs = (_speech_states(folder, data, clips) for folder in (packed, original))
    relative = []
    for a, b in zip(ours, theirs, strict=False):
        spread = b - b.mean(0)
        relative.append(float(np.linalg.norm(a - b) / np.linalg.norm(spread)))
    return relative


def words_wrong(folder: Path, data: Path, limit: int | None = None) -> float:
    """The word error rate of a recogniser (greedy, by transformers) on the sample of TIMIT."""
    import torch
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    from undertone import audio
    from undertone.pretrained import ordinary

    with ordinary(str(folder)) as place:
        model = WhisperForConditionalGeneration.from_pretrained(place, dtype=torch.float32).eval()
        front = WhisperFeatureExtractor.from_pretrained(place)
        tokenizer = AutoTokenizer.from_pretrained(place)
    wrong = total = 0
    for row in _rows(data / "timit_sample")[:limit]:
        wave = audio.load(str(data / "timit_sample" / row["path"]))
        mel = front(wave, sampling_rate=audio.RATE, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = model.generate(mel, max_length=100)
        expected = _plain(row["transcript"])
        wrong += _edits(_plain(tokenizer.decode(ids[0], skip_special_tokens=True)), expected)
        total += len(expected)
    return wrong / total


def _plain(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c in " '").split()


def _edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Insertions, deletions and substitutions from one sequence of words to the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def _speech_states(folder: Path, data: Path, clips: int) -> list[NDArray[np.float32]]:
    from undertone import audio
    from undertone.features.speech import speech_encoder

    encoder = speech_encoder(str(folder), layer="weighted", precision="fp32")
    waves = [audio.load(str(path)) for path in _clips(data, clips)]
    return list(np.concatenate(encoder.encode(waves), axis=1))


def _text_states(folder: Path, data: Path, sentences: int) -> list[NDArray[np.float32]]:
    from undertone.features.text import text_encoder

    lines = (data / "goemotions" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[:sentences]]
    states = []
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for layer in range(config["num_hidden_layers"] + 1):
        encoder = text_encoder(str(folder), layer=layer, precision="fp32")
        states.append(np.concatenate([coded.vectors for coded in encoder.encode(texts)]))
    return states


def _clips(data: Path, count: int) -> Iterator[Path]:
    for corpus in CORPORA:
        rows = _rows(data / corpus)
        for row in rows[:: max(1, len(rows) // count)][:count]:
            yield data / corpus / row["path"]


def _rows(corpus: Path) -> list[dict[str, str]]:
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
