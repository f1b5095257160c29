"""``predict``: the emotion in recordings and transcripts, one or a thousand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertone.cli.answers import Counted, show
from undertone.cli.app import app
from undertone.cli.progress import bar, say, track
from undertone.cli.scale import Address, Engine, Ray, workers_of
from undertone.errors import ConfigError, UndertoneError, UsageError, no_such

if TYPE_CHECKING:
    from undertone.judging.clip import Channels, Recording
    from undertone.judging.locate import Located
    from undertone.judging.plan import Recognise
    from undertone.judging.predictor import Predictor
    from undertone.scale.workers import Workers
    from undertone.types import Prediction

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A model folder, a run, or 'starter'; default: the best at hand."),
]
Align = Annotated[
    str,
    typer.Option(
        "--align",
        help="auto | sphinx | doubtful | none: word times for transcripts that have none;"
        " doubtful: also times that fit badly.",
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        help="torch | openvino | onnx: what runs the model's pretrained speech encoder, where decisions stay"
        " the same; default: what ran it in training."
    ),
]
Precision = Annotated[str | None, typer.Option(help="auto | fp32 | bf16: of the speech encoder, likewise.")]


@app.command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, tables, manifests; - for a sound file on stdin."),
    ],
    model: Model = None,
    text: Annotated[str | None, typer.Option(help="The transcript; for one recording.")] = None,
    asr: Annotated[
        str | None,
        typer.Option(
            help="Recognise the words: a recogniser's hub name or folder; without one, that of the box."
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            help="split (each channel a speaker), mix, or numbers from 0 as 0,1; default: mix where they are"
            " alike."
        ),
    ] = None,
    speakers: Annotated[
        str | None,
        typer.Option(
            help="Who speaks when: an .rttm, .TextGrid (#TIER), .vtt, .ctm or .json, a folder of them, or"
            " pyannote:NAME."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=FIELD of a table (audio, text, label, id …).")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="json | jsonl | csv | timeline (csv) | textgrid | srt | vtt | rttm"
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="A file; for textgrid, srt and vtt of several, a folder. With ray a folder or URL of shards,"
            " or a .jsonl.",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="No label below this confidence, of turns and stretches too; default: the model's own rule.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Other classes, as bored,excited, for a model that judges by class prompts; its answers are"
            " marked zero-shot."
        ),
    ] = None,
    explain: Annotated[bool, typer.Option(help="Work out each word's contribution.")] = True,
    align: Align = "auto",
    runtime: Runtime = None,
    precision: Precision = None,
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Exit 0 though some recordings could not be judged.")
    ] = False,
    engine: Engine = "local",
    address: Address = None,
    ray: Ray = None,
) -> None:
    """Predict the emotion in recordings: who felt what, when.

    Words come from --text, from a .TextGrid, .lab or .txt beside the recording, from --asr, or not at all:
    then the speech decides, and the result states it. A table's rows bring paths, words and labels by their
    columns; where labels stand, the accuracy is printed. Without --format one recording is shown for reading.

    Example: undertone predict clip.wav --text "I can't believe it"

    Example: undertone predict call.wav --channels split --asr --format srt --out call.srt

    Example: undertone predict meeting.mp3 --speakers meeting.rttm --format timeline --out meeting.csv

    Example: undertone predict recordings/ --format csv --out emotions.csv

    Example: undertone predict clips.csv --map clip_id=audio --map judged=label

    Example: undertone predict clip.wav --model runs/demo/clap --labels bored,excited,calm

    Example: undertone predict shards/ --model runs/mine --engine ray --out answers/
    """
    from undertone.files import refuse_place
    from undertone.judging import inputs
    from undertone.judging.outputs import FORMATS, OF_ONE

    if as_json and form not in (None, "json"):
        raise ConfigError(f"--json and --format {form} exclude each other")
    form = "json" if as_json else form
    workers = workers_of(engine, address, ray)
    if workers is not None:
        refuse_engines(runtime, precision)
        if any(one is not None for one in (text, asr, channels, speakers, columns, labels)):
            raise ConfigError(
                "--text, --asr, --channels, --speakers, --map and --labels are for the local engine; on a"
                " cluster words come with the manifest"
            )
        return _on_cluster(paths, model, form, out, (explain, abstain, align), address, workers, skip_bad)
    file = Path(out) if out is not None else None
    recordings = inputs.find(paths, text, doubtful=align == "doubtful", columns=_columns(columns))
    if text is not None and len(recordings) > 1:
        raise ConfigError(f"--text is for one recording, not {len(recordings)}")
    recordings = _with_speakers(recordings, _channels(channels), speakers)
    if form is not None and form not in FORMATS:
        raise UsageError(no_such("format", form, FORMATS))
    if file is not None:
        refuse_place(file, folder=len(recordings) > 1 and form in OF_ONE)
    judge = _predictor(model, align, runtime, precision, _recogniser(asr))
    if labels is not None:
        from undertone.judging.labels import with_labels

        judge.model = with_labels(judge.model, labels.split(","))
    failures: list[str] = []
    counted = Counted(judge.labels)
    answers = counted.count(recordings, _answers(judge, recordings, explain, abstain, failures))
    if form is None and file is None and len(recordings) == 1 and sys.stdout.isatty():
        for answer in answers:
            show(answer)
    else:
        _write(answers, form or _form_of(file), file, [recording.id for recording in recordings])
    if line := counted.line():
        say(line)
    if counted.total:
        for line in _recalled(paths, judge.card):
            say(f"stamped: {line}")
    if failures:
        if len(recordings) > 1:
            say(f"{len(failures)} of {len(recordings)} recordings not judged")
        if not skip_bad:
            raise typer.Exit(1)
    return None


def _recalled(paths: Sequence[str], card: Mapping[str, Any]) -> list[str]:
    """Why the accuracy on some manifests says little: the model was trained on their corpus."""
    from undertone.judging.inputs import MANIFESTS
    from undertone.labels.published import corpora_of, recalled
    from undertone.manifest import read

    listed = [read(path) for path in paths if Path(path).suffix.lower() in MANIFESTS]
    corpora = dict.fromkeys(one.meta.corpus for one in listed if one.meta.corpus)
    return [line for corpus in corpora for line in recalled(corpora_of(card), corpus)]


def _on_cluster(
    paths: Sequence[str],
    model: str | None,
    form: str | None,
    out: str | None,
    options: tuple[bool, float | None, str],
    address: str | None,
    workers: Workers,
    skip_bad: bool,
) -> None:
    """As ``predict``, of one manifest or folder of shards, on Ray."""
    from undertone.judging.locate import locate
    from undertone.scale.predict import predict as place

    if len(paths) != 1:
        raise ConfigError(
            "--engine ray takes one manifest or folder of shards; `undertone prepare` makes one"
        )
    if out is None or form not in (None, "jsonl", "parquet"):
        raise ConfigError(
            "--engine ray writes Parquet shards into --out FOLDER, or lines into --out FILE.jsonl"
        )
    chosen = locate(model)
    if chosen.chosen:
        say(chosen.chosen)
    explain, abstain, align = options
    with bar("judging") as watch:
        account = place(
            paths[0],
            out,
            chosen.path,
            address=address,
            workers=workers,
            explain=explain,
            threshold=abstain,
            align=align,
            watch=watch,
        )
    for one in account.failed:
        say(f"{one.id}: {one.why}")
    resumed = f" ({account.resumed} by an earlier run)" if account.resumed else ""
    failed = f", {len(account.failed)} not judged" if account.failed else ""
    say(f"{out}: {account.utterances} utterances{resumed}{failed}")
    if account.failed and not skip_bad:
        raise typer.Exit(1)


def _recogniser(asr: str | None) -> Recognise | None:
    """By name; ``--asr`` without a name becomes the default one in ``app.main``."""
    if asr is None:
        return None
    from undertone.judging.asr import Recogniser

    return Recogniser(asr).transcripts


def _columns(given: Sequence[str] | None) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given or ()]
    for column, sign, field in pairs:
        if not (column and sign and field):
            raise UsageError(f"--map {column}{sign}{field}: COLUMN=FIELD is wanted, as --map file=audio")
    return {column: field for column, _, field in pairs}


def _channels(given: str | None) -> Channels:
    if given is None or given == "mix" or given == "split":
        return given  # type: ignore[return-value]
    numbers = given.split(",")
    if not all(number.strip().isdigit() for number in numbers):
        raise UsageError(f"--channels {given}: mix, split, or numbers from 0 as 0,1 are wanted")
    return tuple(int(number) for number in numbers)


def _with_speakers(
    recordings: Sequence[Recording], channels: Channels, speakers: str | None
) -> list[Recording]:
    """The recordings with what was chosen of their channels, and with who speaks in them."""
    from undertone.judging.speakers import speakers_of

    made = [replace(one, channels=channels or one.channels) for one in recordings]
    if speakers is None:
        return made
    if len(made) > 1 and Path(speakers.partition("#")[0]).is_file():
        raise ConfigError(f"--speakers {speakers} is one file for {len(made)} recordings: give a folder")
    find = speakers_of(speakers)
    return [replace(one, voices=partial(find, str(one.audio))) for one in made]


def refuse_engines(runtime: str | None, precision: str | None) -> None:
    """ConfigError where one is given: each machine of a cluster would have to try it."""
    if runtime or precision:
        raise ConfigError("--runtime and --precision are for the local engine; a cluster has a model's own")


def _predictor(
    model: str | None, align: str, runtime: str | None, precision: str | None, recognise: Recognise | None
) -> Predictor:
    from undertone.judging.locate import locate
    from undertone.judging.predictor import Predictor, load_model
    from undertone.judging.words import words_for

    chosen = locate(model)
    print_choice(chosen)
    ready = load_model(chosen.path, runtime, precision)
    return Predictor(ready, words=words_for(ready, align), recognise=recognise)


def print_choice(chosen: Located) -> None:
    """Print on stderr which model was chosen where none was named, and the licence of its weights."""
    for line in (chosen.chosen, chosen.terms):
        if line:
            say(line)


def _answers(
    judge: Predictor,
    recordings: Sequence[Recording],
    explain: bool,
    threshold: float | None,
    failures: list[str],
) -> Iterator[Prediction]:
    """Every recording's prediction; one that fails is reported on stderr and the others follow."""
    before: dict[str, list[Any]] = {}
    if judge.model.contextual:  # turns of a conversation are judged in its order
        recordings = sorted(recordings, key=lambda r: (r.dialogue or "", r.turn or 0, r.start or 0.0, r.id))
    for one in track(recordings, "judging") if len(recordings) > 1 else recordings:
        turns = before.setdefault(one.dialogue, []) if one.dialogue is not None else None
        try:
            yield judge.judge(one, explain, threshold, turns)
        except UndertoneError as error:
            failures.append(one.id)
            say(error)


def _form_of(out: Path | None) -> str:
    """The format by a file's suffix, else JSON lines."""
    from undertone.judging.outputs import SUFFIXES

    suffix = out.suffix.lower() if out else ""
    return next((form for form, known in SUFFIXES.items() if known.lower() == suffix), "jsonl")


def _write(answers: Iterable[Prediction], form: str, out: Path | None, ids: Sequence[str]) -> None:
    from undertone.files import whole
    from undertone.judging import outputs

    if out is not None and len(ids) > 1 and form in outputs.OF_ONE:
        files = dict(zip(ids, outputs.places(ids, out, form), strict=True))
        for answer in answers:
            _write([answer], form, files[answer.id], [answer.id])
        return
    pieces = outputs.write(answers, form)
    if out is None:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    else:
        with whole(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
