"""A subword vocabulary that is saved with the model: a small one, fitted on the training part of a fold, or
that of a pretrained network which learns with the system.

Ids go into the batch, their vectors are made in the graph; nothing is stored.

>>> subword = Subword.fit(["I can't believe it", "I believe you"], size=60)
>>> ids, chars = subword.encode("believe")
>>> ["believe"[a:b] for a, b in chars.tolist()]
['believe']
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.files import write_whole

__all__ = ["Subword"]

PADDING, UNKNOWN = "[PAD]", "[UNK]"


class Subword:
    """Fitted: byte-pair pieces of lower-cased words; id 0 is padding, id 1 what no piece covers."""

    def __init__(self, tokenizer: Any, path: Path | None = None) -> None:
        """``tokenizer`` None: that of the file, read when the first text comes."""
        self._known, self._path = tokenizer, path

    @property
    def _tokenizer(self) -> Any:
        if self._known is None and self._path is not None:
            self._known = _read(self._path)
        return self._known

    @classmethod
    def fit(cls, texts: Iterable[str], size: int = 2000) -> Self:
        """Learn at most ``size`` pieces from texts: the training part's, and only those."""
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=[PADDING, UNKNOWN], min_frequency=2, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def of(cls, fast: Any, limit: int) -> Self:
        """A pretrained network's own: transformers' fast tokenizer, its texts cut at ``limit`` tokens."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.enable_truncation(limit)
        return cls(tokenizer)

    @property
    def size(self) -> int:
        """V: ids are below it."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Ids ``(L,)``, special ones included, and the characters ``(L, 2)`` that each covers; nothing for an
        empty text."""
        if not text.strip():
            return np.zeros(0, np.int64), np.zeros((0, 2), np.int32)
        coded = self._tokenizer.encode(text)
        return np.array(coded.ids, np.int64), np.array(coded.offsets, np.int32).reshape(-1, 2)

    def save(self, path: Path) -> None:
        """Write one JSON file, whole or not at all."""
        write_whole(path, self._tokenizer.to_str(pretty=True))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The vocabulary in a file that ``save`` wrote."""
        return cls(_read(path))


def _read(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such tokenizer; is the model folder complete?") from None
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{path}: not a tokenizer: {error}") from None
