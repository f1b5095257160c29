"""The service as its clients see it: answers, refusals, and that it is still there afterwards."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

Make = Callable[..., Any]


def test_a_recording_and_its_words_come_back_judged(client: httpx.Client, clip: bytes) -> None:
    answer = client.post("/v1/predict", files={"file": ("a.wav", clip)}, data={"text": "you DID that"})
    assert answer.status_code == 200
    found = answer.json()
    assert found["id"] == "a.wav"
    assert found["modalities"] == ["speech", "text"]
    assert set(found["perspectives"]) == {"fused", "speech", "text"}
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [word["text"] for word in found["words"]] == ["you", "DID", "that"]
    assert found["segments"] == []


def test_json_with_base64_gives_the_same_answer_as_multipart(client: httpx.Client, clip: bytes) -> None:
    form = client.post("/v1/predict", files={"file": ("x", clip)}, data={"text": "fine", "id": "one"})
    sent = {"audio": base64.b64encode(clip).decode(), "text": "fine", "id": "one"}
    assert client.post("/v1/predict", json=sent).json() == form.json()


def test_base64_may_have_wrapped_lines(client: httpx.Client, clip: bytes) -> None:
    plain = client.post("/v1/predict", json={"audio": base64.b64encode(clip).decode()})
    wrapped = client.post("/v1/predict", json={"audio": base64.encodebytes(clip).decode()})
    assert wrapped.status_code == 200
    assert wrapped.json() == plain.json()


def test_a_sound_file_may_be_the_body_itself(client: httpx.Client, clip: bytes) -> None:
    form = client.post("/v1/predict", files={"file": ("x", clip)}, data={"text": "fine", "id": "one"})
    for kind in ("audio/wav", "audio/x-wav; rate=16000", "application/octet-stream"):
        raw = client.post(
            "/v1/predict",
            params={"text": "fine", "id": "one"},
            content=clip,
            headers={"content-type": kind},
        )
        assert raw.status_code == 200, raw.text
        assert raw.json() == form.json()


def test_probes_answer_head(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_the_same_request_gives_the_same_bytes(client: httpx.Client, clip: bytes) -> None:
    answers = {client.post("/v1/predict", files={"file": ("a.wav", clip)}).content for _ in range(3)}
    assert len(answers) == 1


def test_text_alone_is_judged_by_the_text(client: httpx.Client) -> None:
    found = client.post("/v1/predict", json={"text": "so sad"}).json()
    assert found["modalities"] == ["text"]
    assert found["agree"] is None


def test_below_the_threshold_there_is_no_label(client: httpx.Client, clip: bytes) -> None:
    found = client.post("/v1/predict", files={"file": ("a.wav", clip)}, data={"abstain": "0.99"}).json()
    assert found["label"] is None
    assert found["confidence"] > 0


def test_contributions_are_left_out_when_not_wanted(client: httpx.Client) -> None:
    assert client.post("/v1/predict", json={"text": "so sad", "explain": False}).json()["words"] == []


def test_in_a_batch_one_bad_recording_fails_alone(client: httpx.Client, clip: bytes, make_wav: Make) -> None:
    parts = [("file", ("a.wav", clip)), ("file", ("b.wav", b"nonsense")), ("file", ("c.wav", clip))]
    answer = client.post("/v1/predict/batch", files=parts)
    assert answer.status_code == 200
    first, second, third = answer.json()["predictions"]
    assert (first["id"], third["id"]) == ("a.wav", "c.wav")
    assert set(second) == {"id", "error"}
    alone = client.post("/v1/predict", files={"file": ("a.wav", clip)}).json()
    assert first == alone


def test_other_rates_channels_and_formats_are_read(
    client: httpx.Client, make_wav: Make, make_tone: Make
) -> None:
    stereo = np.stack([make_tone(1.0, rate=44100)] * 2, 1)
    sounds = {
        "a.wav": make_wav(stereo, 44100, "PCM_24"),
        "a.flac": make_wav(stereo, 44100, "PCM_16", "FLAC"),
        "a.ogg": make_wav(make_tone(1.0, rate=48000), 48000, "VORBIS", "OGG"),
        "a.mp3": make_wav(make_tone(1.0, rate=16000), 16000, "MPEG_LAYER_III", "MP3"),
    }
    for name, sound in sounds.items():
        answer = client.post("/v1/predict", files={"file": (name, sound)})
        assert answer.status_code == 200, (name, answer.text)


def test_names_from_outside_never_become_paths(client: httpx.Client, clip: bytes) -> None:
    for name in (
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "/etc/shadow",
        "a/../../b.wav",
        "<b>x</b>.wav",
        "\x07bell",
    ):
        answer = client.post("/v1/predict", files={"file": (name, clip)})
        assert answer.status_code == 200
        assert "/" not in answer.json()["id"].replace("</b>", "")
    for path in (
        "/v1/examples/..%2f..%2fetc%2fpasswd",
        "/..%2fapp.py",
        "/web/../server/app.py",
        "/%2e%2e/app.py",
    ):
        assert client.get(path).status_code in (404, 405), path


def malformed(clip: bytes, make_wav: Make, make_tone: Make) -> list[tuple[str, bytes]]:
    """Two hundred uploads that are no recording, or not all of one."""
    drawn = np.random.default_rng(7)
    noise = [drawn.integers(0, 256, size, dtype=np.uint8).tobytes() for size in drawn.integers(1, 60_000, 60)]
    cut = [clip[:size] for size in drawn.integers(1, len(clip) - 2, 40)]
    hours = bytearray(clip)
    hours[4:8] = hours[40:44] = (0xFFFFFF00).to_bytes(4, "little")
    flac = make_wav(make_tone(2.0), 16000, "PCM_16", "FLAC")
    long_flac = bytearray(flac)
    long_flac[21] |= 0x0F
    long_flac[22:26] = b"\xff\xff\xff\xff"  # total samples: fifty days of them
    broken = [flac[:size] for size in drawn.integers(100, len(flac) - 200, 30)]
    shaken = [clip[:20] + drawn.integers(0, 256, 30, dtype=np.uint8).tobytes() + bytes(5) for _ in range(30)]
    nothing = [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"OggS",
        b"fLaC",
        b"ID3",
        bytes(5000),
        b"\xff\xfb\x90\0" * 4,
    ]
    nan = np.full(1000, np.nan, np.float32)
    inf = np.full(1000, np.inf, np.float32)
    values = [
        make_wav(nan, subtype="FLOAT"),
        make_wav(inf, subtype="FLOAT"),
        make_wav(np.zeros(0, np.float32)),
    ]
    playlists = [
        b"#EXTM3U\nhttp://localhost/x\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<svg/>",
        b"%PDF-1.7",
    ]
    many = make_wav(np.zeros((100, 60), np.float32))
    odd = [bytes(hours), bytes(long_flac), many, *values, *nothing, *playlists]
    more = [drawn.integers(0, 256, 500, dtype=np.uint8).tobytes() for _ in range(40 - len(odd))]
    return [("x.wav", data) for data in [*noise, *cut, *broken, *shaken, *odd, *more]]


def test_two_hundred_malformed_uploads_leave_nothing_behind(
    server: Any, client: httpx.Client, clip: bytes, make_wav: Make, make_tone: Make
) -> None:
    uploads = malformed(clip, make_wav, make_tone)
    assert len(uploads) >= 200
    client.post("/v1/predict", files={"file": ("a.wav", clip)})
    for name, data in uploads[::10]:  # what is allocated once is allocated now
        client.post("/v1/predict", files={"file": (name, data)})
    before = server.memory
    for index, (name, data) in enumerate(uploads):
        answer = client.post("/v1/predict", files={"file": (name, data)})
        if answer.status_code == 200:  # cut short: what is there was judged
            assert "cut short" in answer.json()["warnings"][0]
            continue
        assert 400 <= answer.status_code < 500, (index, answer.status_code, answer.text, data[:40])
        assert answer.json()["detail"]
    after = server.memory
    assert client.post("/v1/predict", files={"file": ("a.wav", clip)}).status_code == 200
    assert after < 1.1 * before, f"{before} bytes before, {after} after"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b"x", "headers": {"content-type": "audio/wav"}}, 422),
        ({"content": b"x", "headers": {"content-type": "audio/wav"}, "params": {"surprise": "1"}}, 422),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ({"content": b"[1]", "headers": {"content-type": "application/json"}}, 422),
        ({"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 422),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"content": b"--y\r\n\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400),
        ({"json": {}}, 422),
        ({"json": {"audio": "not base64!"}}, 422),
        ({"json": {"audio": "AAAA", "surprise": 1}}, 422),
        ({"json": {"audio": 7}}, 422),
        ({"json": {"text": "x", "abstain": 2}}, 422),
        ({"json": {"text": "   "}}, 422),
        ({"json": {"text": "x" * 20_001}}, 413),
        ({"files": {"other": ("a", b"x")}}, 422),
        ({"data": {"file": "not a file", "text": "x"}, "files": {"id": ("a", b"x")}}, 422),
    ],
)
def test_bodies_that_make_no_sense_are_told_so(
    client: httpx.Client, sent: dict[str, Any], status: int
) -> None:
    answer = client.post("/v1/predict", **sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_a_huge_base64_is_refused_by_its_size(client: httpx.Client) -> None:
    body = json.dumps({"audio": "A" * (33 * 2**20)}).encode()
    answer = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_timeline_comes_with_long_recordings(client: httpx.Client, make_wav: Make, real_data: Any) -> None:
    import soundfile

    clips = sorted((real_data / "ravdess").rglob("*.flac"))[:4]
    wave = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips])
    found = client.post("/v1/predict", files={"file": ("long.wav", make_wav(wave))}).json()
    assert len(found["segments"]) >= 3
    for one, other in zip(found["segments"], found["segments"][1:], strict=False):
        assert one["end"] <= other["start"] + 1e-6
    assert found["segments"][-1]["end"] <= len(wave) / 16000


def test_the_openapi_document_names_the_routes_and_shows_examples(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/predict", "/v1/predict/batch", "/v1/model", "/healthz", "/readyz", "/metrics"} <= set(
        document["paths"]
    )
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json", "audio/*"} <= set(body)
    assert body["application/json"]["examples"]
    assert "Request" in document["components"]["schemas"]


def test_metrics_count_what_happened(client: httpx.Client, clip: bytes) -> None:
    client.post("/v1/predict", files={"file": ("a.wav", clip)})
    text = client.get("/metrics").text
    assert 'undertone_requests_total{method="POST",route="/v1/predict",status="200"}' in text
    assert "undertone_batch_clips_bucket" in text
    assert "undertone_audio_seconds_total" in text


def test_the_log_tells_of_requests_but_not_of_what_was_said(
    server: Any, client: httpx.Client, clip: bytes
) -> None:
    secret = "a very private sentence"
    client.post("/v1/predict", files={"file": ("a.wav", clip)}, data={"text": secret})
    client.post("/v1/predict", files={"file": ("a.wav", b"bad")}, data={"text": secret})
    server.until(lambda: server.requests[-1]["status"] == 422)
    assert server.requests[-1]["path"] == "/v1/predict"
    assert "".join(server.lines).count(secret) == 0
