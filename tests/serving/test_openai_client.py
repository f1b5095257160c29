"""The official ``openai`` client against ``/v1/audio/transcriptions`` on the loopback."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import webvtt

openai: Any = pytest.importorskip("openai", reason="openai: pip install 'undertone[dev]'")


@pytest.fixture(scope="module")
def transcriptions(start_server: Callable[..., Any]) -> Iterator[Any]:
    """The client's door to a server whose recogniser spells a word a second."""
    server = start_server(recogniser=0.0, token="a-word")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="a-word", max_retries=0) as client:
        yield client.audio.transcriptions
    server.stop()
    server.process.stderr.close()


@pytest.fixture(scope="module")
def talk(make_wav: Callable[..., bytes]) -> bytes:
    """Six seconds of a tone: two sentences of three words each."""
    return make_wav(0.2 * np.sin(np.arange(6 * 16000) / 12).astype(np.float32))


def test_verbose_json_comes_as_the_clients_own_type_with_emotions(transcriptions: Any, talk: bytes) -> None:
    answer = transcriptions.create(
        file=("talk.wav", talk),
        model="whisper-1",
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert type(answer).__name__ == "TranscriptionVerbose"
    assert answer.text == "w0 w1 <2>. w3 w4 <5>."
    assert answer.duration == pytest.approx(6.0)
    assert [(one.id, one.text) for one in answer.segments] == [(0, "w0 w1 <2>."), (1, "w3 w4 <5>.")]
    assert answer.segments[0].end <= answer.segments[1].start
    assert [word.word for word in answer.words] == answer.text.split()
    assert answer.words[1].start == pytest.approx(1.1)
    for one in (answer, *answer.segments):  # fields that the client does not know are kept
        assert sum(one.emotion["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_json_text_and_captions(transcriptions: Any, talk: bytes) -> None:
    words = "w0 w1 <2>. w3 w4 <5>."
    assert transcriptions.create(file=io.BytesIO(talk), model="default").text == words
    given: dict[str, Any] = {"file": ("talk.wav", talk), "model": "whisper-1"}
    assert transcriptions.create(**given, response_format="text").strip() == words
    srt = transcriptions.create(**given, response_format="srt")
    assert srt.startswith("1\n00:00:00,100 --> 00:00:02,900\n[")
    vtt = webvtt.from_string(transcriptions.create(**given, response_format="vtt"))
    assert [caption.text for caption in vtt] == ["w0 w1 &lt;2&gt;.", "w3 w4 &lt;5&gt;."]


def test_refusals_are_the_clients_own_errors(transcriptions: Any, talk: bytes) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        transcriptions.create(file=("a.wav", b"nonsense"), model="whisper-1")
    assert "not a sound" in refused.value.response.json()["detail"]
    stranger = transcriptions._client.with_options(api_key="another-word")
    with pytest.raises(openai.AuthenticationError):
        stranger.audio.transcriptions.create(file=("a.wav", talk), model="whisper-1")
