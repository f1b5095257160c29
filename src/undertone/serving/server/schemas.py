"""The shapes of requests and answers, checked on the way in and shown in the OpenAPI document."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "BATCH_BODY",
    "JOB_BODY",
    "PREDICT_BODY",
    "Answer",
    "BatchAnswer",
    "BatchRequest",
    "JobRequest",
    "MOST_TURNS",
    "Options",
    "Refusal",
    "Request",
    "SpeakerTurn",
    "Speakers",
    "TRANSCRIPTION_BODY",
    "Transcription",
]

Probability = Annotated[float, Field(ge=0, le=1)]
MOST_TURNS = 5_000
_NUMBERS = r"[0-9]{1,2}(,[0-9]{1,2})*"
_CHANNELS = rf"^(mix|split|{_NUMBERS})$"


def _channels(value: str) -> str:
    if not re.fullmatch(_CHANNELS, value):
        raise ValueError("mix, split, or numbers from 0 as 0,1")
    return value


class Options(BaseModel):
    """What a request may ask for; nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid")

    explain: bool | None = Field(
        None, description="Give each word's contribution; default: the server's setting."
    )
    abstain: Probability | None = Field(
        None, description="No label below this confidence; default: as the model itself decides."
    )
    model: str | None = Field(
        None, max_length=100, description="One of those in /v1/models; default: the server's first."
    )
    channels: Annotated[str, AfterValidator(_channels)] | None = Field(
        None,
        description="split (each channel a speaker), mix, or numbers from 0 as 0,1; default: mix where they"
        " are alike.",
        json_schema_extra={"pattern": _CHANNELS},
    )
    asr: bool | None = Field(
        None, description="Recognise the words where none are given; for servers with --asr."
    )


class SpeakerTurn(BaseModel):
    """Somebody speaks, from one second of the recording to another."""

    model_config = ConfigDict(extra="forbid")

    speaker: str = Field(min_length=1, max_length=100)
    start: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(ge=0, allow_inf_nan=False)
    text: str | None = Field(None, description="What they say.")

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the end of a turn is after its start")
        return self


Speakers = Annotated[list[SpeakerTurn], Field(max_length=MOST_TURNS)]


class ClipIn(BaseModel):
    """One recording: sound, words, or both."""

    model_config = ConfigDict(extra="forbid")

    audio: str | None = Field(
        None,
        description="A sound file (wav, flac, ogg, mp3, …) in base64.",
        json_schema_extra={"format": "base64"},
    )
    text: str | None = Field(None, description="Its transcript.")
    id: str | None = Field(None, max_length=200, description="Comes back in the answer.")
    speakers: Speakers | None = Field(None, description="Who speaks when.")


class Request(ClipIn, Options):
    """``POST /v1/predict`` as JSON."""


class BatchRequest(Options):
    """``POST /v1/predict/batch`` as JSON."""

    clips: list[ClipIn] = Field(min_length=1)


class JobRequest(Options):
    """``POST /v1/jobs`` as JSON: a recording by its URL."""

    url: str = Field(max_length=2_000, description="At one of the places that the server fetches from.")
    text: str | None = None
    id: str | None = Field(None, max_length=200)
    speakers: Speakers | None = None
    webhook: str | None = Field(None, max_length=2_000, description="Gets a signed POST when it is over.")


class Feeling(BaseModel):
    label: str | None
    confidence: float
    probabilities: dict[str, float]


class _Placed(Feeling):
    start: float
    end: float
    speaker: str | None


class Cell(_Placed):
    """A stretch of the timeline."""

    dimensions: dict[str, float] | None = Field(None, description="only of models that have dimensions")


class JudgedTurn(_Placed):
    """What one speaker says until another speaks, or until a pause."""

    text: str | None
    speech: float = Field(description="seconds of it that are speech")
    overlap: float = Field(description="seconds of it in which others speak too")


class JudgedSpeaker(Feeling):
    """One speaker over all of their turns."""

    speech: float
    turns: int
    shares: dict[str, float]
    change: dict[str, float]


class Grounds(BaseModel):
    """What an answer rests on."""

    seconds: float | None
    speech: float | None
    words: int
    snr: float | None = Field(description="decibels of the speech over what is between it")


class Word(BaseModel):
    text: str
    contribution: float
    start: float | None
    end: float | None
    chars: tuple[int, int] | None
    speaker: str | None


class Answer(Feeling):
    """A prediction: its label is null where the model abstains, or there is no speech."""

    schema_: Literal[2] = Field(alias="schema", description="the version of these fields")
    id: str
    perspectives: dict[str, dict[str, float]] = Field(description="fused, speech, text: those that exist")
    agree: bool | None = Field(
        description="whether speech and text alone give the same label; null where one is missing"
    )
    unfamiliar: bool | None = Field(
        description="whether the speech is unlike what the model learned from; null where it cannot tell"
    )
    withheld: str | None = Field(description="why there is no label; null where there is one")
    shares: dict[str, float] = Field(description="each label's share of the speech time, largest first")
    change: dict[str, float] = Field(
        description="each label's mean probability in the last third of the speech less that in the first"
    )
    modalities: list[str] = Field(description="the modalities that were present")
    text: str | None
    text_source: str | None
    segments: list[Cell] = Field(description="the timeline, for recordings long enough")
    turns: list[JudgedTurn] = Field(description="in order of time")
    speakers: dict[str, JudgedSpeaker] = Field(description="where it is known who speaks")
    moments: list[Cell] = Field(description="the stretches with the surest labels, the surest first")
    words: list[Word]
    evidence: Grounds
    dimensions: dict[str, float] | None = Field(
        None, description="arousal, valence, dominance; of models trained on them"
    )
    spread: dict[str, float] | None = Field(None, description="how far ratings may be from each")
    scales: dict[str, dict[str, float]] | None = Field(
        None, description="the least and the largest rating of each"
    )
    distribution: dict[str, float] | None = Field(None, description="the share of raters for each label")
    several: dict[str, float] | None = Field(None, description="each emotion's own; present above 1 / C")
    model: str
    warnings: list[str] = Field(description="what is wrong with the upload, though it was judged")


class JudgedSegment(BaseModel):
    id: int
    start: float
    end: float
    text: str
    emotion: Feeling


class TimedWord(BaseModel):
    word: str
    start: float
    end: float


class Transcription(BaseModel):
    """``json`` has ``text`` and ``emotion``, ``verbose_json`` all of it."""

    text: str
    emotion: Feeling
    task: str = "transcribe"
    language: str = "en"
    duration: float = 0.0
    warnings: list[str] = []
    segments: list[JudgedSegment] = []
    words: list[TimedWord] = []
    model: str = ""
    recogniser: str = ""


class JobState(BaseModel):
    """A job, without its prediction."""

    id: str
    name: str
    status: Literal["waiting", "running", "done", "failed"]
    progress: float
    created: str
    ended: str | None
    error: str | None


class JobList(BaseModel):
    object: Literal["list"]
    data: list[JobState]
    more: bool = Field(description="whether there are older ones")


class Failed(BaseModel):
    """In place of a prediction, for one recording of a batch."""

    id: str
    error: str


class BatchAnswer(BaseModel):
    predictions: list[Answer | Failed]


class Refusal(BaseModel):
    """Any refusal."""

    detail: str


_FILE = {"type": "string", "format": "binary", "description": "A sound file: wav, flac, ogg, mp3, …"}
_OPTIONS = {
    "explain": {"type": "string", "enum": ["true", "false"]},
    "abstain": {"type": "number", "minimum": 0, "maximum": 1},
    "model": {"type": "string", "maxLength": 100},
    "channels": {"type": "string", "pattern": _CHANNELS},
    "asr": {"type": "string", "enum": ["true", "false"]},
}
_SPEAKERS = {"type": "string", "contentMediaType": "application/json", "description": "Who speaks when."}
_EXAMPLE = {"audio": "UklGRiQAAABXQVZF…", "text": "I can't believe it", "id": "clip-1", "abstain": 0.4}


def _body(
    model: type[BaseModel], example: dict[str, Any], form: dict[str, Any], raw: bool = False
) -> dict[str, Any]:
    """``raw``: the body may be a sound file itself, with all else in the query."""
    sound = {"audio/*": {"schema": _FILE}, "application/octet-stream": {"schema": _FILE}} if raw else {}
    query = [
        {"name": name, "in": "query", "schema": schema, "description": "Of a body that is a sound file."}
        for name, schema in form.items()
        if raw and name != "file"
    ]
    return {
        **({"parameters": query} if raw else {}),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": form, "additionalProperties": False}
                },
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
                    "examples": {"a clip and its words": {"value": example}},
                },
                **sound,
            },
        },
    }


PREDICT_BODY = _body(
    Request,
    _EXAMPLE,
    {
        "file": _FILE,
        "text": {"type": "string"},
        "id": {"type": "string", "maxLength": 200},
        "speakers": _SPEAKERS,
        **_OPTIONS,
    },
    raw=True,
)
JOB_BODY = {
    "parameters": [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in {
            "text": {"type": "string"},
            "id": {"type": "string", "maxLength": 200},
            "speakers": _SPEAKERS,
            "webhook": {"type": "string", "maxLength": 2_000},
            **_OPTIONS,
        }.items()
    ],
    "requestBody": {
        "required": True,
        "content": {
            "audio/*": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
            "application/json": {"schema": {"$ref": "#/components/schemas/JobRequest"}},
        },
    },
}
MOST_LISTED = 1_000
JOBS_QUERY = {
    "parameters": [
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": 100},
        }
    ]
}
TRANSCRIPTION_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": _FILE,
                        "model": {
                            "type": "string",
                            "description": "One of those in /v1/models; others are left aside.",
                        },
                        "response_format": {
                            "type": "string",
                            "enum": ["json", "text", "verbose_json", "srt", "vtt"],
                        },
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["segment", "word"]},
                        },
                    },
                }
            }
        },
    }
}
BATCH_BODY = _body(
    BatchRequest,
    {"clips": [{"audio": "UklGRiQ…", "id": "a"}, {"audio": "UklGRiQ…", "text": "fine.", "id": "b"}]},
    {
        "file": {"type": "array", "items": _FILE, "minItems": 1},
        "text": {"type": "array", "items": {"type": "string"}},
        "speakers": {"type": "array", "items": _SPEAKERS},
        **_OPTIONS,
    },
)
