"""Who speaks, what they say, and what is missing of an upload: options of requests, by every way in."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.judging.test_pauses import RATE, Loudness, joined, silence, voice
from tests.serving.fake_server import Speller
from tests.trees.models import wav
from undertone.judging.asr import Recognised, Recogniser
from undertone.judging.clip import Clip
from undertone.judging.conversation import GivenTurn, Voice
from undertone.judging.fakes import FakeModel
from undertone.judging.plan import Listen, Steps
from undertone.judging.predictor import Predictor
from undertone.serving.server.app import build
from undertone.serving.server.settings import ServerSettings
from undertone.types import BESIDE, Prediction

SPELLER = Recogniser("speller", Speller(0.0))
LOUD = joined(silence(0.5), voice(2, 0.5), silence(5.5), voice(2, 0.5), silence(2))
SOFT = joined(silence(4), voice(3, 0.02), silence(5))
CALL = np.round(np.stack([LOUD, SOFT], 1) * 32768).clip(-32768, 32767).astype(np.float32) / 32768
SOUND = wav(CALL)
TURNS = [
    {"speaker": "Ann", "start": 0.4, "end": 2.6},
    {"speaker": "Ben", "start": 3.8, "end": 7.6},
    {"speaker": "Ann", "start": 7.7, "end": 10.2, "text": "I am HAPPY!"},
]
VOICES = [
    Voice("Ann", turns=(GivenTurn(0.4, 2.6), GivenTurn(7.7, 10.2, "I am HAPPY!"))),
    Voice("Ben", turns=(GivenTurn(3.8, 7.6),)),
]


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertone.judging.windows.detector", Loudness)


def serving(model: FakeModel | None = None, **more: Any) -> TestClient:
    settings = ServerSettings(max_seconds=20.0, **more.pop("settings", {}))
    return TestClient(build(model or FakeModel(), settings, **more), "http://localhost")


@pytest.fixture(scope="module")
def spelling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that recognises words and takes jobs."""
    jobs = {"job_folder": tmp_path_factory.mktemp("jobs") / "jobs"}
    with serving(recogniser=SPELLER, settings=jobs) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as client:
        yield client


def ask(client: TestClient, sound: bytes = SOUND, **form: str) -> Any:
    return client.post("/v1/predict", files={"file": ("call.wav", sound)}, data=form)


def plain(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def in_python(predictor: Predictor | None = None, **options: Any) -> dict[str, Any]:
    """The prediction by the library."""
    judge = predictor or Predictor(FakeModel())
    found = judge.predict(SOUND, name="call.wav", **options).plain()
    return {**found, "warnings": []}


def test_channels_that_differ_need_a_choice(client: TestClient) -> None:
    refused = ask(client)
    assert refused.status_code == 422
    assert "channels=split" in refused.json()["detail"] and "channels=mix" in refused.json()["detail"]
    assert plain(ask(client, channels="mix")) == in_python(channels="mix")
    assert plain(ask(client, channels="1")) == in_python(channels=(1,))
    alike = wav(np.stack([LOUD, LOUD], 1))
    assert plain(ask(client, alike))["turns"] == plain(ask(client, wav(LOUD)))["turns"]


def test_each_channel_is_a_speaker_by_every_way_in(spelling: TestClient) -> None:
    ours = in_python(channels="split")
    assert [turn["speaker"] for turn in ours["turns"]] == ["channel 0", "channel 1", "channel 0"]
    assert plain(ask(spelling, channels="split")) == ours
    one = {"audio": base64.b64encode(SOUND).decode(), "id": "call.wav"}
    assert plain(spelling.post("/v1/predict", json={**one, "channels": "split"})) == ours
    raw = {"content": SOUND, "headers": {"content-type": "audio/wav"}}
    query = {"channels": "split", "id": "call.wav"}
    assert plain(spelling.post("/v1/predict", params=query, **raw)) == ours
    many = plain(spelling.post("/v1/predict/batch", json={"clips": [one, one], "channels": "split"}))
    assert many == {"predictions": [ours, ours]}
    assert job(spelling, query) == ours
    back = plain(ask(spelling, channels="1,0"))
    assert list(back["speakers"]) == ["channel 0", "channel 1"] or set(back["speakers"]) == set(
        ours["speakers"]
    )
    assert back["turns"] == ours["turns"]


def job(client: TestClient, query: dict[str, str]) -> Any:
    """The result of a job."""
    made = client.post("/v1/jobs", params=query, content=SOUND, headers={"content-type": "audio/wav"})
    assert made.status_code == 202, made.text
    deadline = time.monotonic() + 20
    while (answer := client.get(f"{made.headers['location']}/result")).status_code == 409:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return plain(answer)


def test_given_turns_are_judged_by_every_way_in(spelling: TestClient) -> None:
    ours = in_python(channels="mix", speakers=VOICES)
    assert [turn["speaker"] for turn in ours["turns"]] == ["Ann", "Ben", "Ann"]
    text = json.dumps(TURNS)
    assert plain(ask(spelling, channels="mix", speakers=text)) == ours
    one = {"audio": base64.b64encode(SOUND).decode(), "id": "call.wav", "speakers": TURNS}
    assert plain(spelling.post("/v1/predict", json={**one, "channels": "mix"})) == ours
    many = plain(spelling.post("/v1/predict/batch", json={"clips": [one], "channels": "mix"}))
    assert many == {"predictions": [ours]}
    files = [("file", ("call.wav", SOUND)), ("file", ("loud.wav", wav(LOUD)))]
    form = {"channels": "mix", "speakers": [text, ""]}  # nobody is named in the second
    both = plain(spelling.post("/v1/predict/batch", files=files, data=form))["predictions"]
    assert both[0] == ours
    assert both[1] == {**plain(ask(spelling, wav(LOUD))), "id": "loud.wav"}
    one_less = spelling.post("/v1/predict/batch", files=files, data={**form, "speakers": [text]})
    assert one_less.status_code == 422 and "2 files but 1 times speakers" in one_less.json()["detail"]
    assert job(spelling, {"id": "call.wav", "channels": "mix", "speakers": text}) == ours


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"channels": "left"}, "channels: mix, split, or numbers from 0 as 0,1"),
        ({"channels": "0,2"}, "there is no channel 2"),
        ({"channels": "0,0"}, "named twice"),
        ({"speakers": "Ann"}, "speakers: "),
        ({"speakers": '[{"speaker": "Ann", "start": 2, "end": 1}]'}, "speakers.0: the end of a turn"),
        ({"speakers": '[{"speaker": "Ann", "start": -1, "end": 1}]'}, "speakers.0.start"),
        ({"speakers": '[{"speaker": "Ann", "start": 0, "end": 1e999}]'}, "speakers.0.end"),
        ({"speakers": json.dumps(TURNS), "channels": "split"}, "channels=mix or channels=0"),
        ({"speakers": json.dumps([TURNS[0]] * 5_001)}, "speakers: "),
        ({"channels": "split", "text": "so what"}, "words of a recording with several speakers"),
        ({"asr": "true"}, "asr: this server recognises no words (see --asr)"),
    ],
)
def test_what_contradicts_itself_or_the_server_is_refused(
    client: TestClient, form: dict[str, str], why: str
) -> None:
    answer = ask(client, **form)
    assert answer.status_code == 422 and why in answer.json()["detail"], answer.text


def test_turns_are_bounded(client: TestClient) -> None:
    many = [{"speaker": str(n), "start": 0.0, "end": 12.0} for n in range(5_000)]
    at_once = ask(client, channels="mix", speakers=json.dumps(many))
    assert at_once.status_code == 422 and "speak at once" in at_once.json()["detail"]
    sound = base64.b64encode(SOUND).decode()
    sent = {"audio": sound, "channels": "mix", "speakers": many}
    assert client.post("/v1/predict", json=sent).status_code == 422
    more = {"audio": sound, "speakers": [many[0]] * 6_000}
    assert client.post("/v1/predict", json=more).status_code in (413, 422)
    words = [{"speaker": "a", "start": n, "end": n + 1, "text": "a" * 9_000} for n in range(3)]
    assert ask(client, channels="mix", speakers=json.dumps(words)).status_code == 413
    alone = client.post("/v1/predict", json={"text": "so what", "speakers": TURNS})
    assert alone.status_code == 422 and "no audio" in alone.json()["detail"]


def test_words_are_recognised_where_that_is_wanted(spelling: TestClient) -> None:
    listening = Predictor(FakeModel(), recognise=SPELLER.transcripts)
    ours = in_python(listening, channels="split")
    assert ours["text_source"] == "speller" and ours["turns"][1]["text"] == "w0 w1 <2>."
    assert plain(ask(spelling, channels="split", asr="true")) == ours
    assert job(spelling, {"id": "call.wav", "channels": "split", "asr": "true"}) == ours
    sound = {"audio": base64.b64encode(SOUND).decode(), "id": "call.wav"}
    many = {"clips": [sound], "channels": "split", "asr": True}
    assert plain(spelling.post("/v1/predict/batch", json=many)) == {"predictions": [ours]}
    given = plain(ask(spelling, channels="mix", asr="true", text="so SAD"))
    assert (given["text"], given["text_source"]) == ("so SAD", "given")
    assert plain(ask(spelling, channels="split"))["text"] is None


def test_a_server_without_a_recogniser_refuses_words_by_every_way_in(client: TestClient) -> None:
    sound = {"audio": base64.b64encode(SOUND).decode()}
    for path, sent in [
        ("/v1/predict", {**sound, "asr": True}),
        ("/v1/predict/batch", {"clips": [sound], "asr": True}),
    ]:
        answer = client.post(path, json=sent)
        assert answer.status_code == 422 and "--asr" in answer.json()["detail"]


def test_the_description_states_whether_words_are_recognised(
    client: TestClient, spelling: TestClient
) -> None:
    assert [one.get("/v1/model").json()["asr"] for one in (client, spelling)] == [False, True]


class Remembering(FakeModel):
    """A model that gives how many turns were before."""

    contextual = True

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        answers = super().predict(clips, explain)
        self.before = [*getattr(self, "before", []), *(clip.before for clip in clips)]
        return [
            replace(answer, extra={"turn": len(clip.before)})
            for answer, clip in zip(answers, clips, strict=True)
        ]


def test_a_model_that_judges_by_the_turns_before_gets_them() -> None:
    model = Remembering()
    with serving(model, recogniser=SPELLER) as client:
        plain(ask(client, channels="mix", speakers=json.dumps(TURNS), asr="true"))
        assert model.before == [(), (0,), (0, 1)]


@pytest.mark.parametrize("seconds", [2.0, 12.0])
def test_a_stream_with_words_ends_with_the_answer_of_the_upload(
    spelling: TestClient, client: TestClient, seconds: float
) -> None:
    wave = joined(silence(0.5), voice(seconds, 0.5), silence(1), voice(3.2, 0.2), silence(1))
    samples = np.round(wave * 32767).astype("<i2")
    texts: list[dict[str, Any]] = []
    live = 0
    with spelling.websocket_connect("/v1/stream", headers={"host": "localhost"}) as socket:
        socket.send_text(json.dumps({"rate": RATE, "id": "call.wav", "asr": True}))
        ready = socket.receive_json()
        assert ready["type"] == "ready" and ready["latency"] > 30
        for first in range(0, len(samples), 4_000):
            socket.send_bytes(samples[first : first + 4_000].tobytes())
        socket.send_text(json.dumps({"type": "end"}))
        while (message := socket.receive_json())["type"] != "final":
            texts += message["texts"]
            live += message["now"] is not None
    whole = plain(ask(spelling, wav(samples.astype(np.float32) / 32768), asr="true"))
    assert message["prediction"] == {key: whole[key] for key in whole if key != "warnings"}
    assert " ".join(one["text"] for one in texts) == whole["text"]
    assert [round(one["start"], 1) for one in texts] == [0.4, round(seconds + 1.4, 1)]
    assert live >= (seconds - 4) // 2
    assert bool(whole["segments"]) == (seconds > 8)


def test_a_stream_gets_no_words_from_a_server_without_a_recogniser(client: TestClient) -> None:
    with client.websocket_connect("/v1/stream", headers={"host": "localhost"}) as socket:
        socket.send_text(json.dumps({"rate": RATE, "asr": True}))
        assert "--asr" in socket.receive_json()["detail"]


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_an_upload_that_is_cut_short_is_judged_with_a_warning(client: TestClient, form: str) -> None:
    whole = wav(joined(silence(0.5), voice(4.5)), form=form)
    found = plain(ask(client, whole[: round(0.64 * len(whole))]))
    (warning,) = found["warnings"]
    there = f"{found['evidence']['seconds']:.1f}"
    assert warning == f"call.wav: cut short: {there} of 5.0 s are there"
    assert found["label"] is not None
    assert plain(ask(client, whole))["warnings"] == []
    files = [("file", ("a.wav", whole)), ("file", ("b.wav", whole[: len(whole) // 2]))]
    both = plain(client.post("/v1/predict/batch", files=files))["predictions"]
    assert [bool(one["warnings"]) for one in both] == [False, True]


def test_the_answer_is_what_the_document_describes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()["components"]["schemas"]
    answer = in_python(Predictor(FakeModel(), recognise=SPELLER.transcripts), channels="split")
    answer["segments"] = answer["segments"] or answer["moments"]
    assert answer["words"] and answer["turns"] and answer["speakers"] and answer["moments"]
    parts = {
        "Answer": answer,
        "Cell": answer["segments"][0],
        "Word": answer["words"][0],
        "JudgedTurn": answer["turns"][0],
        "JudgedSpeaker": answer["speakers"]["channel 0"],
        "Grounds": answer["evidence"],
    }
    beside = {"Answer": set(BESIDE), "Cell": {"dimensions"}}  # only of models that were trained on them
    for name, part in parts.items():
        described = document[name]
        assert set(described["properties"]) - beside.get(name, set()) == set(part), name
        assert set(described["required"]) == set(part), name
    assert "null" in str(document["Cell"]["properties"]["label"])
    from undertone.serving.server.schemas import Answer

    Answer.model_validate_json(json.dumps(answer), strict=True)


class Slow:
    """A recogniser that takes its time, and counts."""

    def __init__(self) -> None:
        self.waves: list[int] = []

    def recognise(self, waves: Sequence[np.ndarray]) -> list[Recognised]:
        self.waves += map(len, waves)
        time.sleep(0.1)
        return [Recognised(()) for _ in waves]


def test_recognising_lets_others_between_and_ends_with_its_client() -> None:
    engine = Slow()
    service = build(FakeModel(), ServerSettings(), recogniser=Recogniser("slow", engine)).service

    def listening(size: int, count: int) -> Steps[str]:
        yield Listen([np.zeros(size, np.float32)] * count)
        return "done"

    async def both() -> str:
        long = asyncio.ensure_future(service.follow(listening(1, 30), service.models.pick(None)))
        await asyncio.sleep(0.15)
        short = await service.follow(listening(2, 1), service.models.pick(None))
        long.cancel()
        await asyncio.wait({long})
        await asyncio.sleep(0.3)
        return short

    assert asyncio.run(both()) == "done"
    assert 2 in engine.waves and len(engine.waves) < 8
