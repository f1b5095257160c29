"""One recording, one prediction: Python, the command line, HTTP and the WebSocket agree."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.trees.models import wav
from undertone.judging.predictor import Predictor, load
from undertone.judging.words import words_for
from undertone.serving.server.app import build
from undertone.serving.server.settings import ServerSettings

pytest.importorskip("espeakng_loader", reason="needs the extra 'demo' for speech")

GAPS = (0.2, 0.5, 2.0)
TEXTS = ("kids are talking by the door", "dogs are sitting by the door and wait", "leave me alone now")


@pytest.fixture(scope="module")
def recordings() -> dict[str, tuple[np.ndarray, str]]:
    """Synthesised sentences joined with pauses, silence at both ends; the last one is over a minute."""
    from undertone import audio, espeak

    speech = [espeak.synthesise(text) for text in TEXTS]
    spoken = [audio.resample(np.asarray(s.wave, np.float32), espeak.RATE, audio.RATE) for s in speech]
    made = {}
    for count, gap in [(2, GAPS[0]), (3, GAPS[1]), (3, GAPS[2]), (33, 1.0)]:
        chosen = [n % len(TEXTS) for n in range(count)]
        pieces = [p for n in chosen for p in (np.zeros(round(gap * audio.RATE), np.float32), spoken[n])]
        wave = np.round(np.concatenate([*pieces, pieces[0]]) * 32767) / 32768
        made[f"{count}-{gap}"] = (wave.astype(np.float32), " ".join(TEXTS[n] for n in chosen))
    return made


@pytest.fixture(scope="module")
def predictor(model_folder: Path) -> Predictor:
    return load(model_folder)


@pytest.fixture(scope="module")
def client(predictor: Predictor) -> Any:
    application = build(predictor.model, ServerSettings(), words=words_for(predictor.model))
    with TestClient(application, base_url="http://localhost") as client:
        yield client


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["label"] == other["label"] and one["modalities"] == other["modalities"]
    assert one["perspectives"].keys() == other["perspectives"].keys()
    for side, posterior in one["perspectives"].items():
        assert posterior == pytest.approx(other["perspectives"][side], abs=1e-3)
    assert one["shares"] == pytest.approx(other["shares"], abs=1e-3)
    assert [(c["start"], c["end"], c["label"]) for c in one["segments"]] == [
        (c["start"], c["end"], c["label"]) for c in other["segments"]
    ]


@pytest.mark.parametrize("worded", [False, True], ids=["without words", "with words"])
def test_an_upload_is_judged_as_in_python(
    predictor: Predictor, client: Any, recordings: dict[str, tuple[np.ndarray, str]], worded: bool
) -> None:
    for name, (wave, text) in recordings.items():
        ours = predictor.predict(wave, text if worded else None, name=name).plain()
        body = {"id": name, "audio": base64.b64encode(wav(wave)).decode()} | (
            {"text": text} if worded else {}
        )
        reply = client.post("/v1/predict", json=body)
        assert reply.status_code == 200, reply.text
        same(ours, reply.json())
        if worded:
            assert ours["modalities"] == ["speech", "text"]
            assert len(ours["words"]) == len(text.split())


def test_a_stream_ends_with_the_prediction_of_the_upload(
    predictor: Predictor, client: Any, recordings: dict[str, tuple[np.ndarray, str]]
) -> None:
    for name, (wave, _) in recordings.items():
        with client.websocket_connect("/v1/stream", headers={"host": "localhost"}) as socket:
            socket.send_text(json.dumps({"rate": 16000, "id": name}))
            assert socket.receive_json()["type"] == "ready"
            samples = np.round(wave * 32768).astype("<i2")
            for first in range(0, len(samples), 4_000):
                socket.send_bytes(samples[first : first + 4_000].tobytes())
            socket.send_text(json.dumps({"type": "end"}))
            while (message := socket.receive_json())["type"] != "final":
                pass
        same(predictor.predict(wave, name=name).plain(), message["prediction"])


def test_the_command_line_judges_as_python(
    predictor: Predictor,
    model_folder: Path,
    recordings: dict[str, tuple[np.ndarray, str]],
    tmp_path: Path,
) -> None:
    for name, (wave, text) in recordings.items():
        (tmp_path / f"{name}.wav").write_bytes(wav(wave))
        if name.startswith("3"):
            (tmp_path / f"{name}.txt").write_text(text)
    call = [sys.executable, "-m", "undertone", "predict", str(tmp_path), "-m", str(model_folder)]
    ran = subprocess.run([*call, "-f", "jsonl"], capture_output=True, encoding="utf-8", check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == len(recordings)
    for line in lines:
        name = Path(line["id"]).name.removesuffix(".wav")
        wave, text = recordings[name]
        same(predictor.predict(wave, text if name.startswith("3") else None).plain(), line)
