"""CTC alignment: planted emissions found again, blanks and repeats right, stars, a real checkpoint."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trees.tiers import is_nested
from undertone.alignment.ctc import Token, align_emissions, ctc_topology, frame_clock, place, with_star
from undertone.alignment.tokens import STAR, Vocabulary
from undertone.alignment.transcript import normalise
from undertone.alignment.viterbi import best_path
from undertone.errors import AlignmentError
from undertone.types import FrameClock

LETTERS = {"<pad>": 0, "|": 1, "<unk>": 2, "'": 3} | {chr(c): c - 93 for c in range(97, 123)}
CLOCK = FrameClock(hop=0.02, offset=0.0125)


def emissions(columns: list[int], width: int, sure: float = 0.9) -> np.ndarray:
    """Log probabilities ``(T, V)`` of ``columns``, one a frame."""
    p = np.full((len(columns), width), (1 - sure) / (width - 1))
    p[np.arange(len(columns)), columns] = sure
    return np.log(p)


def collapse(frames: tuple[int, ...], blank: int = 0) -> tuple[int, ...]:
    return tuple(k for k, _ in itertools.groupby(frames) if k != blank)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 10**6))
def test_the_best_path_is_the_best_of_all_that_collapse_to_the_text(
    text: list[int], steps: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=(steps, 4)).astype(np.float32)
    valid = [f for f in itertools.product(range(4), repeat=steps) if collapse(f) == tuple(text)]
    expected = max((sum(scores[t, k] for t, k in enumerate(f)) for f in valid), default=-np.inf)
    tokens = [Token(column, 0) for column in text]
    columns = np.zeros(2 * len(tokens) + 1, int)
    columns[1::2] = text
    assert best_path(scores[:, columns], ctc_topology(tokens))[1] == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_the_mark_between_words_may_be_left_out(steps: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(steps, 4)).astype(np.float32)
    for text in ([1, 3, 2], [1, 3, 1]):  # 3 is the mark
        both = {tuple(text), (text[0], text[2])}
        valid = [f for f in itertools.product(range(4), repeat=steps) if collapse(f) in both]
        expected = max((sum(scores[t, k] for t, k in enumerate(f)) for f in valid), default=-np.inf)
        tokens = [Token(text[0], 0), Token(3, -1), Token(text[2], 1)]
        columns = np.array([0, text[0], 0, 3, 0, text[2], 0])
        assert best_path(scores[:, columns], ctc_topology(tokens))[1] == pytest.approx(expected, abs=1e-4)


def test_planted_words_are_found_with_their_times() -> None:
    a, e, h, l, o, s = (LETTERS[c] for c in "aehlos")
    frames = [0, 0, h, e, e, l, 0, l, o, 0, 1, 0, a, a, l, s, o, 0, 0]
    words = normalise("Hello also")
    alignment = align_emissions(emissions(frames, len(LETTERS)), words, Vocabulary.of(LETTERS, 0), CLOCK)
    assert [(w.text, w.chars) for w in alignment.word] == [("hello", (0, 5)), ("also", (6, 10))]
    expected = [
        (0.0125 - 0.01 + 0.02 * 2, 0.0125 - 0.01 + 0.02 * 9),
        (0.0025 + 0.02 * 12, 0.0025 + 0.02 * 17),
    ]
    assert [(w.start, w.end) for w in alignment.word] == [pytest.approx(e) for e in expected]
    assert all(w.score == pytest.approx(0.9, abs=0.03) for w in alignment.word)


def test_equal_letters_need_a_blank_between() -> None:
    l = LETTERS["l"]
    tokens = [Token(l, 0), Token(l, 0)]
    assert place(emissions([l, l], len(LETTERS)), tokens, 0) is None
    timed = place(emissions([l, 0, l], len(LETTERS)), tokens, 0)
    assert timed is not None and [(t.first, t.end) for t in timed] == [(0, 1), (2, 3)]


def test_a_word_nobody_can_spell_is_a_star() -> None:
    h, i, q = (LETTERS[c] for c in "hiq")
    words = normalise("hi привет hi")
    alignment = align_emissions(
        emissions([h, i, 0, 1, 0, q, q, 0, 1, 0, h, i], len(LETTERS)), words, Vocabulary.of(LETTERS, 0), CLOCK
    )
    assert [w.text for w in alignment.word] == ["hi", "привет", "hi"]
    middle = alignment.word[1]
    assert (middle.start, middle.end) == (pytest.approx(0.0025 + 5 * 0.02), pytest.approx(0.1425))


def test_the_star_is_the_probability_of_any_token() -> None:
    table = emissions([3, 0], 5, sure=0.6)
    star = with_star(table, 0)[:, STAR]
    assert np.exp(star) == pytest.approx([0.9, 0.4])


def test_a_phone_vocabulary_gives_phones_and_syllables() -> None:
    vowels = "ə oʊ æ ɛ ɪ iː uː ʌ eɪ aɪ ɔɪ aʊ ʊ ɑː ɔː ɜː"
    names = f"<pad> {vowels} b d dʒ f h j k l m n p s t tʃ v w z ð ŋ ɡ ɹ ʃ ʒ θ".split()
    vocabulary = Vocabulary.of({name: i for i, name in enumerate(names)}, 0, None)
    assert vocabulary.phonetic
    spelled = [names.index(text) for _, text in vocabulary.spell("hello")]
    frames = emissions([0, *spelled, 0], len(names))
    alignment = align_emissions(frames, normalise("hello"), vocabulary, CLOCK)
    assert len(alignment.phone) == len(spelled) and len(alignment.syllable) == 2 and is_nested(alignment)


def test_a_letter_vocabulary_is_none_of_phones() -> None:
    assert not Vocabulary.of(LETTERS, 0).phonetic
    assert not Vocabulary.of({k.upper(): v for k, v in LETTERS.items()}, 0).phonetic


def test_too_few_frames_are_an_error() -> None:
    with pytest.raises(AlignmentError, match="too short"):
        align_emissions(emissions([0, 0], len(LETTERS)), normalise("hello"), Vocabulary.of(LETTERS, 0), CLOCK)


def test_frames_are_where_the_convolutions_put_them() -> None:
    class Wav2Vec2:
        conv_kernel = (10, 3, 3, 3, 3, 2, 2)
        conv_stride = (5, 2, 2, 2, 2, 2, 2)

    clock = frame_clock(Wav2Vec2, 16000)
    assert clock.hop == 0.02 and clock.offset == 0.0125


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny wav2vec 2.0 with random weights and a letter vocabulary."""
    import json

    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("ctc")
    (folder / "vocab.json").write_text(
        json.dumps({k.upper() if len(k) == 1 else k: v for k, v in LETTERS.items()})
    )
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), pad_token="<pad>", unk_token="<unk>", word_delimiter_token="|"
    )
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(LETTERS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(8, 8),
            conv_stride=(20, 16),
            conv_kernel=(40, 20),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
            pad_token_id=0,
        )
    )
    model.save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_a_checkpoint_stored_in_fp16_runs_in_fp32(checkpoint: Path, tmp_path: Path) -> None:
    """A CPU computes fp16 several times slower."""
    import shutil

    import torch
    from transformers import AutoModelForCTC

    from undertone.pretrained import load_recogniser

    shutil.copytree(checkpoint, tmp_path / "half")
    AutoModelForCTC.from_pretrained(checkpoint, dtype=torch.float16).save_pretrained(tmp_path / "half")
    model = load_recogniser(str(tmp_path / "half")).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_checkpoint_aligns_every_word_in_order(checkpoint: Path) -> None:
    from undertone.alignment.ctc import CtcAligner, CtcConfig

    aligner = CtcAligner(CtcConfig(model=str(checkpoint)))
    wave = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    alignment = aligner.align(wave, 16000, "Hello, it's 5 o'clock")
    assert [w.text for w in alignment.word] == ["hello", "it's", "five", "o'clock"]
    assert is_nested(alignment) and alignment.word[0].start >= 0 and alignment.word[-1].end <= 3.02
    assert aligner.clock.hop == 0.02
    assert aligner.align(np.repeat(wave, 3)[: 3 * 48000], 48000, "hello").word
    with pytest.raises(AlignmentError, match="no words"):
        aligner.align(wave, 16000, "[laughter]")
    with pytest.raises(AlignmentError, match="not the transcript"):
        CtcAligner(CtcConfig(model=str(checkpoint), gate=0.9)).align(wave, 16000, "hello")
