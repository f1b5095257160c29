"""The recordings and options of a request body: multipart, JSON, or a sound file itself.

Nothing of it touches the disk. Bodies are read in a thread, for a large one takes a while, and the values
of a JSON text are counted before any is built: a short text can hold millions.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, Headers, QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from undertone.judging.clip import Channels
from undertone.judging.speakers import Row
from undertone.serving.server import schemas
from undertone.serving.server.settings import ServerSettings

__all__ = [
    "JSON",
    "Chosen",
    "Upload",
    "Wanted",
    "batch",
    "check",
    "chosen",
    "kind",
    "options",
    "parse",
    "rows",
    "short",
    "single",
    "speakers",
    "text",
    "transcription",
]

Model = TypeVar("Model", bound=BaseModel)

JSON = "application/json"
FORMS = frozenset({JSON, "multipart/form-data"})
SOUND = frozenset({"application/octet-stream"})
"""Kinds of a body that is a sound file, beside ``audio/…``."""
FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
VALUES = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
"""What there is of in a JSON text about as much as values: strings, commas, openings."""


LONGEST_SPEAKERS = 2**20
"""Bytes of a form's field that lists who speaks when."""
VALUES_OF_SPEAKERS = 14 * schemas.MOST_TURNS
SPEAKERS = TypeAdapter(schemas.Speakers)


@dataclass(frozen=True)
class Upload:
    """One recording of a request, not yet decoded."""

    id: str
    data: bytes | None
    text: str | None
    speakers: Sequence[Row] = ()
    """Who speaks when, where that is given."""


@dataclass(frozen=True)
class Chosen:
    """How recordings are to be judged."""

    explain: bool
    abstain: float | None
    model: str | None
    """By its name on this server; None: the default one."""
    channels: Channels
    asr: bool
    """Whether words that are not given are recognised."""


@dataclass(frozen=True)
class Wanted:
    """A request understood."""

    uploads: tuple[Upload, ...]
    chosen: Chosen


async def single(request: Request, settings: ServerSettings) -> Wanted:
    """The one recording of ``/v1/predict``; HTTPException states what is wrong with the body."""
    sent, data = kind(request), await request.body()
    if sent not in FORMS:
        return _raw(request, data, settings)
    return await asyncio.to_thread(_single, sent, request.headers, data, settings)


async def batch(request: Request, settings: ServerSettings) -> Wanted:
    """The recordings of ``/v1/predict/batch``."""
    sent, data = kind(request), await request.body()
    if sent not in FORMS:
        raise HTTPException(415, "a batch is multipart/form-data or application/json")
    return await asyncio.to_thread(_batch, sent, request.headers, data, settings)


@dataclass(frozen=True)
class WantedWords:
    """A recording whose words are wanted, and how."""

    upload: Upload
    form: str
    model: str | None
    words: bool
    """Whether the time of each word is wanted too."""


async def transcription(request: Request, settings: ServerSettings) -> WantedWords:
    """The recording of ``/v1/audio/transcriptions``; what names other recognisers' options is left aside."""
    if kind(request) != "multipart/form-data":
        raise HTTPException(415, "send multipart/form-data with a field 'file'")
    return await asyncio.to_thread(_spoken, request.headers, await request.body(), settings)


def _spoken(headers: Headers, data: bytes, settings: ServerSettings) -> WantedWords:
    others = {"model", "language", "prompt", "temperature"}
    granularities = "timestamp_granularities[]"
    form = _form(headers, data, settings, {"file", "response_format", granularities, *others})
    wanted = str(form.get("response_format", "json"))
    if wanted not in FORMATS:
        raise HTTPException(422, f"response_format: one of {', '.join(FORMATS)}")
    sound = _bytes(form.get("file"))
    if not sound or len(form.getlist("file")) > 1:
        raise HTTPException(422, "one field 'file' is needed")
    named = text(form.get("model"))
    return WantedWords(Upload("clip", sound, None), wanted, named, "word" in form.getlist(granularities))


def _raw(request: Request, data: bytes, settings: ServerSettings) -> Wanted:
    """The body is the sound file, all else is in the query."""
    query = request.query_params
    given = options(query, {"text", "id", "speakers"})
    turns = speakers(query.get("speakers"))
    upload = Upload(short(query.get("id") or "clip"), data, text(query.get("text")), turns)
    return _wanted([upload], given, settings)


def _single(sent: str, headers: Headers, data: bytes, settings: ServerSettings) -> Wanted:
    if sent == JSON:
        parsed = parse(schemas.Request, data, settings)
        return _wanted([_upload(parsed, "clip")], parsed, settings)
    form = _form(headers, data, settings, {"file", "text", "id", "speakers", *schemas.Options.model_fields})
    for name in set(form):
        if len(form.getlist(name)) > 1:
            raise HTTPException(422, f"the field '{name}' comes more than once: see /v1/predict/batch")
    file = form.get("file")
    named = form.get("id") or (file.filename if isinstance(file, UploadFile) else None) or "clip"
    sound = _bytes(file)  # before anything is refused: this closes it
    upload = Upload(short(str(named)), sound, text(form.get("text")), speakers(form.get("speakers")))
    return _wanted([upload], _options(form), settings)


def _batch(sent: str, headers: Headers, data: bytes, settings: ServerSettings) -> Wanted:
    if sent == JSON:
        parsed = parse(schemas.BatchRequest, data, settings)
        uploads = [_upload(clip, f"clip-{index}") for index, clip in enumerate(parsed.clips, 1)]
        return _wanted(uploads, parsed, settings)
    form = _form(headers, data, settings, {"file", "text", "speakers", *schemas.Options.model_fields})
    files, texts, talks = form.getlist("file"), form.getlist("text"), form.getlist("speakers")
    if not files:
        raise HTTPException(422, "no field 'file'")
    sounds = [_bytes(part) for part in files]  # before anything is refused: this closes them
    if texts and len(texts) != len(files):
        raise HTTPException(422, f"{len(files)} files but {len(texts)} texts: one each, or none at all")
    if talks and len(talks) != len(files):
        raise HTTPException(
            422, f"{len(files)} files but {len(talks)} times speakers: one each, which may be empty, or none"
        )
    uploads = []
    for index, part in enumerate(files):
        name = (part.filename if isinstance(part, UploadFile) else None) or f"clip-{index + 1}"
        words, talk = (given[index] if given else None for given in (texts, talks))
        uploads.append(Upload(short(name), sounds[index], text(words), speakers(talk)))
    return _wanted(uploads, _options(form), settings)


def _wanted(uploads: list[Upload], options: schemas.Options, settings: ServerSettings) -> Wanted:
    if len(uploads) > settings.max_files:
        raise HTTPException(
            413, f"{len(uploads)} recordings in one request; {settings.max_files} are allowed"
        )
    for upload in uploads:
        if upload.data is None and upload.text is None:
            raise HTTPException(422, "neither audio nor text")
        if upload.data is None and upload.speakers:
            raise HTTPException(422, "speakers: there is no audio")
        check(upload, options, settings)
    return Wanted(tuple(uploads), chosen(options, settings))


def check(upload: Upload, options: schemas.Options, settings: ServerSettings) -> None:
    """HTTPException for too many words, or for two answers to who speaks."""
    words = len(upload.text or "") + sum(len(words or "") for *_, words in upload.speakers)
    if words > settings.max_text:
        raise HTTPException(413, f"the text is longer than {settings.max_text} characters")
    if upload.speakers and (options.channels == "split" or "," in (options.channels or "")):
        raise HTTPException(422, "speakers are of one channel, or of the mix: channels=mix or channels=0")


def chosen(options: schemas.Options, settings: ServerSettings) -> Chosen:
    """The options of a request, with the server's own where it gives none."""
    wanted: Channels = None
    if options.channels is not None:
        named = options.channels in ("mix", "split")
        wanted = options.channels if named else tuple(map(int, options.channels.split(",")))  # type: ignore[assignment]
    explain = settings.explain if options.explain is None else options.explain
    return Chosen(explain, options.abstain, options.model, wanted, bool(options.asr))


def kind(request: Request) -> str:
    """What a request's body is, or 415."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in FORMS | SOUND and not sent.startswith("audio/"):
        raise HTTPException(415, "send multipart/form-data with a field 'file', application/json, or audio/…")
    return sent


# ---- JSON --------------------------------------------------------------------------------------------


def parse(model: type[Model], body: bytes, settings: ServerSettings) -> Model:
    """A JSON body as its model; its values are counted first."""
    most = 64 + 14 * settings.max_files  # a clip has twelve
    if b'"speakers"' in body:
        most += VALUES_OF_SPEAKERS
    if _holds_more(body, most):
        raise HTTPException(413, f"more values than {settings.max_files} recordings need")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _reason(error)) from None


def _holds_more(text: bytes, most: int) -> bool:
    return any(count > most for count, _ in enumerate(VALUES.finditer(text), 1))


def _reason(error: ValidationError, *where: str) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in (*where, *first["loc"]))
    why = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {why}" if place else why


def speakers(given: Any) -> Sequence[Row]:
    """Who speaks when, as the JSON text of a form or query has it."""
    if given is None or given == "":
        return ()
    if not isinstance(given, str):
        raise HTTPException(422, "the field 'speakers' holds a file; it takes a JSON text")
    if _holds_more(given.encode("utf-8", "replace"), VALUES_OF_SPEAKERS):
        raise HTTPException(413, f"speakers: more values than {schemas.MOST_TURNS} turns need")
    try:
        return rows(SPEAKERS.validate_json(given))
    except ValidationError as error:
        raise HTTPException(422, _reason(error, "speakers")) from None


def rows(turns: Sequence[schemas.SpeakerTurn] | None) -> Sequence[Row]:
    """The turns of a request, in plain values."""
    return [(turn.speaker, turn.start, turn.end, text(turn.text)) for turn in turns or ()]


def _upload(clip: schemas.ClipIn, fallback: str) -> Upload:
    turns = rows(clip.speakers)
    if clip.audio is None:
        return Upload(clip.id or fallback, None, text(clip.text), turns)
    try:
        data = base64.b64decode("".join(clip.audio.split()), validate=True)  # lines may be wrapped
    except (binascii.Error, ValueError):
        raise HTTPException(422, "audio: not base64") from None
    return Upload(clip.id or fallback, data, text(clip.text), turns)


# ---- multipart ---------------------------------------------------------------------------------------


class _InMemory(MultiPartParser):
    """The usual parser, which never spools to disk: the body is counted and in memory already."""

    spool_max_size = 2**62


def _form(headers: Headers, data: bytes, settings: ServerSettings, known: set[str]) -> FormData:
    try:
        parser = _InMemory(
            Headers(raw=headers.raw),
            _once(data),
            max_files=settings.max_files,
            max_fields=2 * settings.max_files + len(schemas.Options.model_fields),
            max_part_size=4 * settings.max_text + LONGEST_SPEAKERS,
        )
        form = _at_once(parser.parse())
    except MultiPartException as error:
        raise HTTPException(400, f"multipart: {error.message}") from None
    except (KeyError, ValueError, UnicodeError, LookupError):
        raise HTTPException(400, "multipart: not readable") from None
    unknown = sorted(set(form) - known)
    if unknown:
        raise HTTPException(422, f"unknown field '{short(unknown[0])}'; known: {', '.join(sorted(known))}")
    return form


def _at_once(parsing: Coroutine[Any, Any, FormData]) -> FormData:
    """The result of a coroutine that never waits: all that it reads is in memory."""
    try:
        parsing.send(None)
    except StopIteration as end:
        form: FormData = end.value
        return form
    parsing.close()
    raise ValueError("the body is not in memory")


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def options(query: QueryParams, others: set[str]) -> schemas.Options:
    """The options in a query, which may hold these names besides, each once; or HTTPException."""
    known = {*others, *schemas.Options.model_fields}
    for name in query:
        if name not in known or len(query.getlist(name)) > 1:
            raise HTTPException(422, f"'{short(name)}' in the query: {', '.join(sorted(known))}, each once")
    return _options(query)


def _options(form: Mapping[str, Any]) -> schemas.Options:
    given = {name: form[name] for name in schemas.Options.model_fields if name in form}
    try:
        return schemas.Options.model_validate(given)
    except ValidationError as error:
        raise HTTPException(422, _reason(error)) from None


def _bytes(file: Any) -> bytes | None:
    if file is None:
        return None
    if isinstance(file, str):
        raise HTTPException(422, "the field 'file' holds no file (it needs a file name)")
    with file.file as opened:
        return bytes(opened.read())


def text(value: Any) -> str | None:
    """A transcript with plain spaces; None where there is none."""
    if isinstance(value, UploadFile):
        raise HTTPException(422, "the field 'text' holds a file")
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text or None


def short(name: str) -> str:
    """A client's file name as an id: its last part, printable, never a path."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:200] or "clip"
