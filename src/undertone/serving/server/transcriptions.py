"""``POST /v1/audio/transcriptions``: words as other services give them, with emotions in their own fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from undertone.errors import UndertoneError
from undertone.judging.clip import Clip, Transcript
from undertone.judging.outputs import clock, escaped
from undertone.serving.server import body
from undertone.serving.server.decoding import Overloaded
from undertone.serving.server.listening import Sentence
from undertone.serving.server.models import NoSuchModel, Served
from undertone.serving.server.routes import REFUSALS
from undertone.serving.server.schemas import TRANSCRIPTION_BODY, Refusal, Transcription
from undertone.serving.server.service import Service
from undertone.types import Prediction

__all__ = ["router"]

router = APIRouter()

SHORTEST = 0.4
"""Seconds of speech from which a sentence is judged alone; shorter ones get some of what is around them."""


@router.post(
    "/v1/audio/transcriptions",
    response_model=Transcription,
    responses={**REFUSALS, 404: {"model": Refusal, "description": "This server recognises no words."}},
    openapi_extra=TRANSCRIPTION_BODY,
)
async def transcribe(request: Request) -> Response:
    """The words of a recording, and how they are spoken: json, text, verbose_json, srt or vtt."""
    service: Service = request.app.state.service
    if service.listening is None:
        raise HTTPException(404, "this server recognises no words (see --asr)")
    wanted = await body.transcription(request, service.settings)
    try:
        decoded = await service.decoded(wanted.upload, request.state.record)
        wave = decoded.wave
        spoken, words = await service.listening.recognise(wave)
        served = _named(service, wanted.model)
        request.state.record.model = served.model.name
        with served.used():
            whole = await service.judge(served, "clip", decoded, words, explain=False, threshold=None)
            parts = await _judged(served, wave, spoken)
    except Overloaded as error:
        raise HTTPException(503, str(error), {"retry-after": "1"}) from None
    except UndertoneError as error:
        raise HTTPException(422, str(error)) from None
    text = words.text if words else ""
    if wanted.form == "text":
        return PlainTextResponse(text + "\n")
    if wanted.form == "srt":
        return PlainTextResponse(_srt(parts))
    if wanted.form == "vtt":
        return Response(_vtt(parts), media_type="text/vtt")
    answer: dict[str, Any] = {"text": text, "emotion": _emotion(whole), "warnings": list(decoded.warnings)}
    if wanted.form == "verbose_json":
        answer |= {
            "task": "transcribe",
            "language": (words.language if words else None) or "en",
            "duration": round(len(wave) / service.model.rate, 3),
            "segments": [
                {"id": index, **_times(one.start, one.end), "text": one.text, "emotion": _emotion(prediction)}
                for index, (one, prediction) in enumerate(parts)
            ],
            "model": served.model.name,
            "recogniser": service.listening.name,
        }
        if wanted.words:
            answer["words"] = [
                {"word": word.text, **_times(word.start, word.end)} for one in spoken for word in one.words
            ]
    return JSONResponse(answer)


def _named(service: Service, name: str | None) -> Served:
    """The model of this name; clients of other services name a recogniser here, which is left aside."""
    try:
        return service.models.pick(name)
    except NoSuchModel:
        return service.models.pick(None)


async def _judged(served: Served, wave: Any, spoken: Sequence[Sentence]) -> list[tuple[Sentence, Prediction]]:
    """Each sentence with the prediction for it alone."""
    rate, clips = served.model.rate, []
    for one in spoken:
        short = max(0.0, SHORTEST - (one.end - one.start)) / 2
        first = max(0, round((one.start - short) * rate))
        clips.append(Clip("clip", wave[first : round((one.end + short) * rate)], Transcript(one.text)))
    return list(zip(spoken, await served.batcher.predict(clips), strict=True))


def _emotion(prediction: Prediction) -> dict[str, Any]:
    plain = prediction.plain()
    return {key: plain[key] for key in ("label", "confidence", "probabilities")}


def _times(start: float, end: float) -> dict[str, float]:
    return {"start": round(start, 3), "end": round(end, 3)}


def _srt(parts: Sequence[tuple[Sentence, Prediction]]) -> str:
    """Captions, each with its label in front."""
    cues = (
        f"{index}\n{clock(one.start, ',')} --> {clock(one.end, ',')}\n"
        f"{f'[{prediction.label}] ' if prediction.label else ''}{one.text}\n\n"
        for index, (one, prediction) in enumerate(parts, 1)
    )
    return "".join(cues)


def _vtt(parts: Sequence[tuple[Sentence, Prediction]]) -> str:
    """Captions whose class is the label, which a style sheet may colour."""
    cues = "".join(
        f"{clock(one.start, '.')} --> {clock(one.end, '.')}\n"
        f"{_spanned(escaped(one.text), prediction.label)}\n\n"
        for one, prediction in parts
    )
    return f"WEBVTT\n\n{cues}"


def _spanned(text: str, label: str | None) -> str:
    name = "".join(c if c.isalnum() else "-" for c in label or "")
    return f"<c.{name}>{text}</c>" if name else text
