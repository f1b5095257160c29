"""First steps that go wrong: each message names what to do next."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from trees.commands import Run, failed
from trees.sound import noise
from undertone import splits
from undertone.cli import about
from undertone.config import Config
from undertone.errors import ConfigError, ProtocolError
from undertone.types import Utterance

RECIPE = ("crossval", "demo/concat", "--set", "manifest=nowhere.jsonl")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        noise(tmp_path / "sounds" / f"{name}.wav")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((*RECIPE, "--set", "epochs=2"), "unknown key 'epochs': did you mean 'training.epochs'?"),
        ((*RECIPE, "--set", "modality_dropout=0"), "did you mean 'model.modality_dropout'?"),
        ((*RECIPE, "--set", "width=2"), "did you mean 'text.width' or 'model.width'?"),
        ((*RECIPE, "--set", "training.epochs=two"), "training.epochs: should be a whole number, not 'two'"),
        ((*RECIPE, "--set", "training.epochs=0"), "training.epochs: should be greater than 0, not 0"),
        ((*RECIPE, "--set", "speech.layer=top"), "speech.layer: should be a whole number or 'last' or"),
        ((*RECIPE, "--set", "protocol.split=losso"), "protocol.split: should be 'loso', 'emosuperb', "),
        ((*RECIPE, "--set", "text=3"), "text: should be a table"),
        (RECIPE, "nowhere.jsonl: no such manifest; `undertone prepare` makes one, --set manifest=FILE"),
    ],
)
def test_a_wrong_setting_is_explained_in_the_recipes_words(
    run: Run, words: tuple[str, ...], names: str
) -> None:
    ran = run(*words)
    failed(ran, names)
    assert "Input" not in ran.err and "pydantic" not in ran.err


def test_every_branch_of_a_union_is_one_sentence() -> None:
    class Options(Config):
        layer: int | str | None = None
        pair: tuple[int, int] = (1, 2)

    with pytest.raises(ConfigError, match=r"^pair\.1: should be a whole number, not 'x'$"):
        Options.parse({"pair": [1, "x"]})
    with pytest.raises(ConfigError, match=r"^layer: should be a whole number or text$"):
        Options.parse({"layer": [1]})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("demo/concta", "did you mean demo/concat?"),
        ("iemocap/multilevl", "did you mean iemocap/multilevel?"),
        ("unison", "did you mean demo/unison or emodb/unison or "),
        ("nothing/of-the-kind", "`undertone list recipes` shows them"),
        ("recipes/demo/concta.toml", "did you mean demo/concat?"),
    ],
)
def test_a_wrong_recipe_names_the_nearest_and_no_list_of_all(run: Run, name: str, meant: str) -> None:
    ran = run("crossval", name)
    failed(ran, name, meant, status=2)
    assert len(ran.err) < 200
    assert "demo/unison" in run("list", "recipes").out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("prepare", "iemcap", ".", "--out", "m.jsonl"), "no corpus 'iemcap': did you mean 'iemocap'?"),
        (("list", "wishes"), "there are: corpora, encoders"),
        (("align", "m.jsonl", "--with", "sphnx", "--out", "a.jsonl"), "did you mean 'sphinx'?"),
        (("predict", ".", "--format", "jsno"), "did you mean 'json'?"),
        (("export", "runs", "--to", "onx"), "did you mean 'onnx'?"),
        (("train", "demo/concat", "--engine", "rya"), "did you mean 'ray'?"),
        (("extract", "m.jsonl", "--spech", "acoustic"), "--speech"),
        (("divine",), "No such command 'divine'"),
        (("prepare", "demo"), "Missing argument"),
        (("serve", "--port", "99999"), "'--port': should be less than or equal to 65535"),
        (("prepare", "demo", "d", "--size", "many"), "'--size': should be a whole number"),
    ],
)  # fmt: skip
def test_a_mistyped_command_is_one_line_and_status_2(
    run: Run, words: tuple[str, ...], names: str, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clips)
    failed(run(*words), names, status=2)


def test_no_words_at_all_show_the_help(run: Run) -> None:
    ran = run()
    assert ran.status == 2 and "crossval" in ran.out + ran.err


def test_sessions_that_are_missing_name_the_protocols_that_need_none() -> None:
    known = [Utterance(f"u{i}", f"{i}.wav", speaker=f"s{i}") for i in range(6)]
    with pytest.raises(ProtocolError, match="lospo and kfold-speaker need speakers alone"):
        splits.make(known, "loso")
    with pytest.raises(ProtocolError, match="--map COLUMN=speaker"):
        splits.make([Utterance("u", "u.wav")], "loso")


def test_columns_that_nobody_named_are_listed(run: Run, clips: Path) -> None:
    (clips / "c.csv").write_text("path,emotion,mood\nsounds/a.wav,happy,1\nsounds/b.wav,sad,2\n")
    out = clips / "m.jsonl"
    ran = run("prepare", "table", clips / "c.csv", "--out", out)
    assert ran.status == 0
    assert ran.err == "undertone: table: no labels: --map COLUMN=label names their column (emotion, mood)\n"
    failed(run("crossval", "demo/concat", "--set", f"manifest={out}"), "--map COLUMN=label")
    again = run("prepare", "table", clips / "c.csv", "--map", "emotion=label", "--out", out)
    assert (again.status, again.err) == (0, "")
    (clips / "d.csv").write_text("Datei;Gefühl\nsounds/a.wav;froh\n", encoding="latin-1")
    failed(run("prepare", "table", clips / "d.csv", "--out", out), "--map COLUMN=audio", "(Datei, Gefühl)")


def test_a_missing_recording_names_the_option_for_its_folder(run: Run, clips: Path) -> None:
    (clips / "c.csv").write_text("path,label\na.wav,happy\nb.wav,sad\n")
    words = ("prepare", "table", clips / "c.csv", "--out", clips / "m.jsonl")
    failed(run(*words), "a.wav: no such file (and 1 more)", "--set audio_root=FOLDER", "--skip-bad")
    assert run(*words, "--set", f"audio_root={clips / 'sounds'}").status == 0


def test_a_message_is_printed_once_and_in_one_voice(run: Run, clips: Path) -> None:
    def twice() -> None:
        for _ in range(2):
            logging.getLogger("undertone.store").warning("%s is odd", "it")

    (clips / "c.csv").write_text("path\nsounds/a.wav\n")
    words = ("prepare", "table", clips / "c.csv", "--out", clips / "m.jsonl")
    assert run(*words).status == 0
    assert run("-v", *words).err.startswith("undertone: WARNING undertone.experiment.prepare: table: ")
    run(*words)
    logging.getLogger().handlers[0].stream = sink = io.StringIO()  # type: ignore[attr-defined]
    twice()
    assert sink.getvalue() == "undertone: it is odd\n"


@pytest.mark.parametrize(
    ("words", "busy", "kept"),
    [
        (("crossval", "demo/concat"), "experiment.crossval.crossval", "finished folds and whole epochs"),
        (("-v", "extract", "m.jsonl", "--speech", "acoustic"), "manifest.read", "what is encoded is kept"),
        (("predict", "a.wav"), "judging.inputs.find", "a file of --out is written only when it is whole"),
        (
            ("search", "demo/concat", "--over", "training.rate=1e-4..1e-2"),
            "experiment.search.search_recipe",
            "finished trials are kept",
        ),
        (("list", "corpora"), "cli.about._corpora", "interrupted"),
    ],
)
def test_ctrl_c_states_what_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], busy: str, kept: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if busy == "cli.about._corpora":
        monkeypatch.setitem(about.LISTS, "corpora", stop)
    else:
        monkeypatch.setattr(f"undertone.{busy}", stop)
    ran = run(*words)
    failed(ran, "interrupted", kept, status=130)
