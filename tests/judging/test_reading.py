"""Words that a model can't read are no evidence, and the answer says so."""

from __future__ import annotations

import numpy as np
import pytest

from undertone.features.english import not_english
from undertone.judging.fakes import FakeModel
from undertone.judging.predictor import Predictor

OTHER = [
    "Ich hasse dich", "Das ist wirklich nicht schlecht", "Je te déteste", "Te quiero mucho", "Ti odio",
    "Nienawidzę cię", "Ik haat je zo erg", "Jag älskar dig", "Eu te amo muito", "Seni çok seviyorum",
    "Я тебя ненавижу", "Σε μισώ", "أنا أكرهك", "我讨厌你", "मैं तुमसे नफ़रत करता हूँ", "너를 미워해",
    "オレは怒っている", "אני שונא אותך", "aaaaaaaaaaaa", "asdf jklh qwrt", "xkcdqz wvvbn", "!!! ??? ...",
    "12345 67890", "🙂🙂🙂",
]  # fmt: skip
ENGLISH = [
    "I hate you", "Noooo way, lmao", "Yikes", "That was a café in Zürich, I think", "What?!", "ok", "hmm",
    "Wow!!!", "so happy right now", "Die Hard was so good", "He is in Los Angeles", "can't",
    "Fantastic!!", "Poor guy",
    "I love the word Schadenfreude",
]  # fmt: skip


@pytest.mark.parametrize("text", OTHER)
def test_other_languages_scripts_and_noise_are_not_read(text: str) -> None:
    assert not_english(text)


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_read_however_short_and_odd(text: str) -> None:
    assert not_english(text) is None


def test_what_is_not_read_does_not_change_the_answer_and_is_named() -> None:
    model = FakeModel()
    model.card = {**model.card, "languages": ["en"]}
    wave = np.full(32_000, 0.2, np.float32)
    judge = Predictor(model)
    alone, both = judge.predict(wave), judge.predict(wave, text="Ich HASSE dich")
    assert both.probabilities == alone.probabilities and both.modalities == ("speech",)
    assert both.text == "Ich HASSE dich"
    assert both.text_source == "given, not judged: another language than English"
    nothing = judge.predict(None, text="Я тебя НЕНАВИЖУ")
    assert nothing.label is None and nothing.withheld == "words that the model can't read"
    assert nothing.text_source == "given, not judged: Cyrillic script"
    assert judge.predict(None, text="I HATE you").label is not None


def test_a_model_that_names_no_language_reads_everything() -> None:
    assert Predictor(FakeModel()).predict(None, text="Ich HASSE dich").modalities == ("text",)
