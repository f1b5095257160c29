"""The NOTICE of the package: who made the networks, where they are from, hashes of what was packed."""

from __future__ import annotations

from collections.abc import Mapping

from undertone import packed

__all__ = ["notice"]

AUTHORS = {
    "whisper-base": """\
Whisper base. Copyright (c) 2022 OpenAI.
Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust Speech Recognition via Large-Scale Weak
Supervision, 2022.
Here: the encoder's stem, its position embeddings and the lower four of its six blocks; no decoder.""",
    "whisper-tiny.en": """\
Whisper tiny.en. Copyright (c) 2022 OpenAI. As above.
Here: whole.""",
    "minilm-l6": """\
all-MiniLM-L6-v2, by the sentence-transformers project (UKP Lab, TU Darmstadt; Reimers and Gurevych),
trained from MiniLM (Microsoft). Wang, Wei, Dong, Bao, Yang, Zhou: MiniLM: Deep Self-Attention
Distillation for Task-Agnostic Compression of Pre-Trained Transformers, 2020.
Here: whole.""",
}
FILES = {"MIT": "LICENSE-MIT", "Apache-2.0": "LICENSE-APACHE"}


def notice(hashes: Mapping[str, Mapping[str, str]]) -> str:
    """The text, from the sha256 of each source file by encoder and file name."""
    parts = [
        "undertone-encoders",
        "",
        "Pretrained networks of others. Changed here: matrices are stored as whole numbers of 8 or 10 bits",
        "with a scale a row, everything else in half precision (see README.md).",
        "This file is written by `python -m studies.encoders`.",
    ]
    for name, boxed in packed.BOX.items():
        parts += ["", name, *(f"  {line}" for line in AUTHORS[name].splitlines())]
        parts += [f"  Licence: {boxed.licence} ({FILES[boxed.licence]})"]
        parts += [f"  Source: https://huggingface.co/{boxed.hub}", "  sha256 of the files it was made from:"]
        parts += [f"    {value}  {file}" for file, value in hashes[name].items()]
    return "\n".join(parts) + "\n"
