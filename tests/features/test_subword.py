"""The fitted vocabulary: stable, reversible by characters, blind to what it was not fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from undertone.errors import ModelError
from undertone.features.subword import Subword

TEXTS = ["I can't believe it", "why would you do that", "that is so good", "I believe you, truly"] * 2


def test_fitting_twice_gives_the_same_vocabulary(tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        Subword.fit(TEXTS, 80).save(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_saving_and_loading_is_identity(tmp_path: Path) -> None:
    subword = Subword.fit(TEXTS, 80)
    subword.save(tmp_path / "subword.json")
    again = Subword.load(tmp_path / "subword.json")
    assert again.size == subword.size <= 80
    for text in (*TEXTS, "unseen wörds!"):
        assert all((a == b).all() for a, b in zip(again.encode(text), subword.encode(text), strict=True))


def test_ids_are_never_padding_and_below_the_size() -> None:
    subword = Subword.fit(TEXTS, 80)
    ids, chars = subword.encode("completely ünseen 漢字 text?!")
    assert len(ids) == len(chars) and ids.min() >= 1 and ids.max() < subword.size


def test_characters_point_into_the_text_as_it_was_given() -> None:
    text = "I CAN'T believe it"
    _, chars = Subword.fit(TEXTS, 200).encode(text)
    covered = "".join(text[a:b] for a, b in chars)
    assert covered == text.replace(" ", "") and (np.diff(chars[:, 0]) > 0).all()


def test_an_empty_text_has_no_tokens() -> None:
    for text in ("", "   "):
        ids, chars = Subword.fit(TEXTS, 80).encode(text)
        assert ids.shape == (0,) and chars.shape == (0, 2)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such tokenizer"):
        Subword.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ModelError, match=r"bad\.json: not a tokenizer"):
        Subword.load(tmp_path / "bad.json")
