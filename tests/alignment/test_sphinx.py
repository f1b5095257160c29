"""The English aligner: the model's files, its parts, and whole utterances of known times."""

from __future__ import annotations

import csv
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pocketsphinx", reason="the extra 'align' is not installed")

from trees.tiers import is_nested
from undertone.alignment import boundaries
from undertone.alignment.pronunciation import UNKNOWN, Lexicon, by_letters, english, stressed
from undertone.alignment.sphinx import cepstra
from undertone.alignment.sphinx.aligner import SphinxAligner, SphinxConfig
from undertone.alignment.sphinx.hmm import POSITIONS, load_model
from undertone.alignment.sphinx.lattice import build
from undertone.alignment.sphinx.search import SearchConfig, log_likelihoods, search
from undertone.errors import AlignmentError, MissingExtra, ModelError, TranscriptMismatch


@pytest.fixture(scope="module")
def aligner() -> SphinxAligner:
    return SphinxAligner()


# ---- the model ----------------------------------------------------------------------------------------


def test_the_model_is_read_whole() -> None:
    model = load_model()
    assert len(model.phones.names) == 42 and model.phones.names[model.phones.silence] == "SIL"
    assert model.weights.shape == (3, 128, 5126) and len(model.phones.keys) > 100_000
    assert model.weights.sum(axis=1) == pytest.approx(1.0, abs=0.15)
    assert (model.lasting >= 1).all() and np.isfinite(model.linear).all()


def test_a_phone_in_context_shares_its_codebook_with_the_phone_alone() -> None:
    phones, owner = load_model().phones, load_model().codebook
    k, ae, t = (phones.index(p) for p in ("K", "AE", "T"))
    senones = phones.lookup(ae, k, t, POSITIONS["internal"])
    assert set(owner[senones]) == {ae} and senones.tolist() != phones.base[ae].tolist()
    unseen = phones.index("+SPN+")
    assert phones.lookup(unseen, unseen, unseen, 0).tolist() == phones.base[unseen].tolist()


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=tmp_path.name):
        load_model(tmp_path)


def test_likelihoods_are_mixtures_of_gaussians() -> None:
    """Against the textbook's formula, one frame and one senone at a time."""
    model = load_model()
    features = np.random.default_rng(0).normal(0, 5, (3, 2, 13)).astype(np.float32)
    senones = np.array([7, 3000, 3000, 4100])
    got = log_likelihoods(model, features, senones)
    for t, (j, senone) in ((t, pair) for t in range(2) for pair in enumerate(senones)):
        total = 0.0
        for s in range(3):
            linear = model.linear[s, model.codebook[senone]].astype(float)
            variance = -0.5 / linear[13:]
            mean = linear[:13] * variance
            x = features[s, t][:, None]
            density = np.exp(-((x - mean) ** 2 / (2 * variance)).sum(0)) / np.sqrt(
                (2 * np.pi * variance).prod(0)
            )
            total += np.log((density * model.weights[s][:, senone]).sum())
        assert got[t, j] == pytest.approx(total, rel=1e-3)


def test_cepstra_have_a_frame_every_ten_milliseconds() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    power = cepstra.mel_energies(wave)
    assert power.shape == (1 + (16000 - cepstra.WINDOW) // cepstra.HOP, 25)
    values = cepstra.cepstra(cepstra.remove_noise(power))
    assert cepstra.differences(values).shape == (3, len(power), 13) and np.isfinite(values).all()
    assert len(cepstra.mel_energies(wave[:10])) == 1


def test_noise_is_lowered_more_than_speech() -> None:
    power = np.full((400, 25), 1e3, np.float32)
    power[300:320] = 1e6
    cleaned = cepstra.remove_noise(power)
    assert cleaned[290].mean() < power[290].mean() * 0.4 and cleaned[310].mean() > power[310].mean() * 0.8


def test_digital_silence_is_no_trouble() -> None:
    assert np.isfinite(cepstra.cepstra(cepstra.remove_noise(np.zeros((9, 25), np.float32)))).all()


def test_a_lattice_offers_variants_and_pauses() -> None:
    lattice = build([[["DH", "AH"], ["DH", "IY"]], [["EY"]]], load_model(), -3.0)
    names = {(p.word, p.variant, p.name) for p in lattice.phones}
    assert {(0, 0, "AH"), (0, 1, "IY"), (1, 0, "EY"), (-1, 0, "SIL")} <= names
    assert sum(p.word < 0 for p in lattice.phones) == 3
    assert len(lattice.senones) == 3 * len(lattice.phones) == lattice.topology.states


def test_what_is_too_short_has_no_path() -> None:
    silence = np.zeros(1600, np.float32)
    assert search(silence, [[["K", "AE", "T"]]] * 5, load_model(), SearchConfig()) is None


@given(
    st.lists(st.sampled_from(["SIL", "P", "AE1", "N", "CH", "R"]), min_size=1, max_size=8), st.floats(0, 1)
)
def test_moved_edges_stay_in_order(phones: list[str], contrast: float) -> None:
    times = [0.011 * i for i in range(len(phones) + 1)]
    edges = boundaries.settle(times, phones, contrast)
    assert edges[0] == times[0] and edges[-1] == times[-1]
    assert all(b - a > 0.0099 for a, b in pairwise(edges))


# ---- pronunciations --------------------------------------------------------------------------------------


def test_the_dictionary_comes_first() -> None:
    lexicon = Lexicon(
        {"so": [["S", "OW"]], "going": [["G", "OW", "IH", "NG"]], "church": [["CH", "ER", "CH"]]}
    )
    assert lexicon.variants("So") == [["S", "OW"]]
    assert lexicon.variants("sooooo") == [["S", "OW"]]
    assert lexicon.variants("goin") == [["G", "OW", "IH", "N"]]
    assert lexicon.variants("church's") == [["CH", "ER", "CH", "IH", "Z"]]
    assert lexicon.variants("b-") == [["B"]]
    assert lexicon.guessed == {}


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_any_word_has_a_pronunciation(word: str) -> None:
    names = load_model().phones.names
    for variant in english().variants(word):
        assert variant and all(phone in names for phone in variant)


def test_without_espeak_words_are_spelled_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from undertone import espeak
    from undertone.alignment import pronunciation

    def missing(word: str, language: str = "en-us") -> list[str]:
        raise MissingExtra("pronunciations", "espeak")

    monkeypatch.setattr(espeak, "pronounce", missing)
    pronunciation._espeak.cache_clear()
    pronunciation._warn_once.cache_clear()
    lexicon = Lexicon({})
    assert lexicon.variants("shblorf") == [by_letters("shblorf")]
    assert lexicon.variants("цвет") == [[UNKNOWN]]
    assert len(caplog.records) == 1 and "espeak" in caplog.text
    pronunciation._espeak.cache_clear()


def test_stress_comes_where_vowels_agree() -> None:
    pytest.importorskip("espeakng_loader")
    assert stressed("happy", ["HH", "AE", "P", "IY"]) == ["HH", "AE1", "P", "IY0"]
    assert stressed("happy", ["HH", "AE"]) == ["HH", "AE"]


# ---- whole utterances ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken() -> tuple[str, np.ndarray, int, list[tuple[float, float]]]:
    pytest.importorskip("espeakng_loader")
    from undertone.espeak import synthesise

    text = "I never thought that we would leave the garden so early"
    speech = synthesise(text)
    pad = np.zeros(speech.rate // 4, np.float32)
    wave = np.concatenate([pad, speech.wave, pad])
    wave = wave + np.random.default_rng(0).normal(0, 1e-3, len(wave)).astype(np.float32)
    return (
        text,
        wave.astype(np.float32),
        speech.rate,
        [(w.start + 0.25, w.end + 0.25) for w in speech.alignment.word],
    )


def test_synthesised_words_are_found_where_they_are(aligner: SphinxAligner, spoken: tuple) -> None:
    text, wave, rate, truth = spoken
    alignment = aligner.align(wave, rate, text.replace("I never", "“I never—") + " [sigh] 😀")
    assert [w.text for w in alignment.word] == text.lower().split() and is_nested(alignment)
    errors = [
        e for w, (a, b) in zip(alignment.word, truth, strict=True) for e in (abs(w.start - a), abs(w.end - b))
    ]
    assert np.median(errors) < 0.025
    assert all(
        p.score is not None and 0 <= p.score <= 1
        for p in (*alignment.word, *alignment.syllable, *alignment.phone)
    )
    assert {p.text for p in alignment.phone} >= {"G", "AA1"}


def test_another_text_is_refused(aligner: SphinxAligner, spoken: tuple) -> None:
    _, wave, rate, _ = spoken
    with pytest.raises(TranscriptMismatch, match="gate"):
        aligner.align(wave, rate, "Basketball players usually exchange enormous shirts")


def test_a_few_wrong_words_are_noticed_and_their_times_are_offered(
    aligner: SphinxAligner, spoken: tuple
) -> None:
    text, wave, rate, _ = spoken
    wrong = text.replace("leave the garden", "sell them cheap")
    with pytest.raises(TranscriptMismatch) as refused:
        aligner.align(wave, rate, wrong)
    error = refused.value
    assert error.alignment is not None and [w.text for w in error.alignment.word] == wrong.lower().split()
    assert 0 <= error.confidence < 0.5


def test_what_cannot_be_aligned_says_why(aligner: SphinxAligner) -> None:
    wave = np.zeros(8000, np.float32)
    for text, reason in (
        ("…", "no words"),
        ("far too many words for half a second of silence here", "too short"),
    ):
        with pytest.raises(AlignmentError, match=reason):
            aligner.align(wave, 16000, text)
    with pytest.raises(AlignmentError, match="cut it"):
        SphinxAligner(SphinxConfig(longest=0.1)).align(wave, 16000, "a")


@settings(max_examples=10, deadline=None)
@given(st.text("abc é7$-'.[", min_size=1, max_size=12), st.integers(0, 10**6))
def test_any_text_nests_in_any_sound(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, rng.uniform(0, 0.2), rng.integers(1, 30000)).astype(np.float32)
    try:
        alignment = SphinxAligner(SphinxConfig(gate=0)).align(wave, 16000, text)
    except AlignmentError:
        return
    assert is_nested(alignment) and alignment.word and alignment.phone
    assert all(text[slice(*w.chars)] for w in alignment.word if w.chars)


@pytest.mark.skipif(
    "UNDERTONE_DATA" not in os.environ, reason="UNDERTONE_DATA is not set: no real recordings"
)
def test_real_words_are_found_near_where_people_marked_them(aligner: SphinxAligner) -> None:
    from undertone import audio

    folder = Path(os.environ["UNDERTONE_DATA"]) / "timit_sample"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))[::10]
    with (folder / "words.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = []
    for clip in listed:
        truth = [(float(r["start_s"]), float(r["end_s"])) for r in rows if r["path"] == clip["path"]]
        alignment = aligner.align(audio.load(folder / clip["path"]), audio.RATE, clip["transcript"])
        errors += [
            e for w, (a, b) in zip(alignment.word, truth, strict=True) for e in (w.start - a, w.end - b)
        ]
    assert np.median(np.abs(errors)) < 0.016 and (np.abs(errors) < 0.05).mean() > 0.85


@pytest.mark.skipif(
    "UNDERTONE_DATA" not in os.environ, reason="UNDERTONE_DATA is not set: no real recordings"
)
def test_a_right_transcript_of_a_damaged_recording_is_accepted(aligner: SphinxAligner) -> None:
    """Its samples are shifted by one byte from 0.4 s on; the outline of the words is left."""
    from undertone import audio

    path = Path(os.environ["UNDERTONE_DATA"]) / "timit_sample" / "dr2-faem0" / "sx222.flac"
    text = "You always come up with pathological examples."
    assert len(aligner.align(audio.load(path), audio.RATE, text).word) == 7
    with pytest.raises(TranscriptMismatch):
        aligner.align(audio.load(path), audio.RATE, "Those musicians harmonize marvelously in the evening.")
