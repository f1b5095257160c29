"""``/v1/audio/transcriptions``: the forms of other services' clients, with emotions, and nobody held up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from undertone.serving.server.listening import pieces

CLIENT = httpx.Client(timeout=60)


@pytest.fixture(scope="module")
def spelling(start_server: Callable[..., Any]) -> Iterator[Any]:
    running = start_server(recogniser=0.0)
    yield running
    running.stop()
    running.process.stderr.close()


@pytest.fixture(scope="module")
def spoken(make_wav: Callable[..., bytes], make_tone: Callable[..., np.ndarray]) -> bytes:
    """Seven seconds, of which the fourth and fifth are silent."""
    wave = make_tone(7.0)
    wave[3 * 16000 : 5 * 16000] = 0
    return make_wav(wave)


def ask(server: Any, sound: bytes, **form: Any) -> httpx.Response:
    files = {"file": ("a.wav", sound)}
    return CLIENT.post(
        f"{server.url}/v1/audio/transcriptions", files=files, data={"model": "whisper-1", **form}
    )


def test_json_and_text_hold_the_words(spelling: Any, spoken: bytes) -> None:
    answer = ask(spelling, spoken).json()
    assert answer["text"] == "w0 w1 <2>. <5>. w6"
    assert sum(answer["emotion"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    plain = ask(spelling, spoken, response_format="text")
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.text == answer["text"] + "\n"


def test_verbose_json_has_sentences_with_times_and_emotions(spelling: Any, spoken: bytes) -> None:
    form = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    answer = ask(spelling, spoken, **form).json()
    assert answer["duration"] == 7.0
    assert [(s["start"], s["end"], s["text"]) for s in answer["segments"]] == [
        (0.1, 2.9, "w0 w1 <2>."),
        (5.1, 5.9, "<5>."),
        (6.1, 6.9, "w6"),
    ]
    for segment in answer["segments"]:
        emotion = segment["emotion"]
        assert emotion["confidence"] == max(emotion["probabilities"].values())
    assert [word["word"] for word in answer["words"]] == answer["text"].split()
    assert "words" not in ask(spelling, spoken, response_format="verbose_json").json()


def test_captions_have_clocks_and_labels(spelling: Any, spoken: bytes) -> None:
    srt = ask(spelling, spoken, response_format="srt").text
    assert srt.startswith("1\n00:00:00,100 --> 00:00:02,900\n[")
    assert srt.count(" --> ") == 3
    vtt = ask(spelling, spoken, response_format="vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.100 --> 00:00:02.900\n<c.")
    assert "&lt;5&gt;." in vtt.text


def test_times_go_on_from_piece_to_piece(
    spelling: Any, make_wav: Callable[..., bytes], make_tone: Callable[..., np.ndarray]
) -> None:
    wave = make_tone(70.0)
    wave[25 * 16000 : 26 * 16000] = 0
    assert next(round(end / 16000, 1) for _, end in pieces(wave)) == 25.0
    answer = ask(spelling, make_wav(wave), response_format="verbose_json").json()
    starts = [segment["start"] for segment in answer["segments"]]
    assert starts == sorted(starts)
    assert answer["segments"][-1]["end"] == pytest.approx(69.9, abs=1.0)


def test_silence_has_no_words_and_wrong_requests_are_refused(
    spelling: Any, server: Any, make_wav: Callable[..., bytes], clip: bytes
) -> None:
    silent = ask(spelling, make_wav(np.zeros(16000, np.float32)), response_format="verbose_json")
    assert (silent.status_code, silent.json()["text"], silent.json()["segments"]) == (200, "", [])
    assert ask(spelling, clip, response_format="xml").status_code == 422
    assert ask(spelling, clip, surprise="1").status_code == 422
    assert ask(spelling, b"nonsense").status_code == 422
    assert ask(server, clip).status_code == 404  # this one has no recogniser


def test_recognising_holds_nobody_up_and_ends_with_its_client(
    start_server: Callable[..., Any], make_wav: Callable[..., bytes], clip: bytes
) -> None:
    server = start_server(recogniser=0.7)
    try:
        long = make_wav(np.zeros(300 * 16000, np.float32), form="FLAC")  # ten pieces, seven seconds
        request = httpx.Request("POST", server.url, files={"file": ("a.flac", long)})
        head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        where = urlsplit(server.url)
        with socket.create_connection((where.hostname, where.port)) as wire:
            wire.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\n" + head + b"\r\n" + request.read())
            time.sleep(1.0)
            began = time.monotonic()
            assert CLIENT.post(f"{server.url}/v1/predict", files={"file": ("a", clip)}).status_code == 200
            assert time.monotonic() - began < 1.0
            began = time.monotonic()
            assert ask(server, clip).status_code == 200  # its turn comes after one piece of the long one
            assert time.monotonic() - began < 3.0
        began = time.monotonic()
        assert ask(server, clip).status_code == 200
        assert time.monotonic() - began < 2.5
    finally:
        server.stop()
        server.process.stderr.close()


def test_the_recogniser_in_the_box_reads_real_speech(real_data: Path) -> None:
    """In this process, with the model of the tests around it."""
    pytest.importorskip("faster_whisper")
    pytest.importorskip("undertone_encoders")
    from starlette.testclient import TestClient

    from undertone.judging.asr import Recogniser
    from undertone.judging.fakes import FakeModel
    from undertone.serving.server.app import build
    from undertone.serving.server.settings import ServerSettings

    (sound, *_) = sorted((real_data / "ravdess").rglob("03-01-01-01-01-01-*.flac"))
    app = build(FakeModel(), ServerSettings(), recogniser=Recogniser())
    beats: list[float] = []
    with TestClient(app, "http://127.0.0.1:8000") as client:
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                began = time.monotonic()
                client.get("/healthz")
                beats.append(time.monotonic() - began)

        thread = threading.Thread(target=beat)
        thread.start()
        files = {"file": ("a.flac", sound.read_bytes())}
        answer = client.post(
            "/v1/audio/transcriptions", files=files, data={"response_format": "verbose_json"}
        ).json()
        ended.set()
        thread.join()
    assert "kids are talking by the door" in answer["text"].lower()
    assert answer["segments"][0]["emotion"]["label"]
    assert max(beats) < 1.0
