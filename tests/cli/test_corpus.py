"""``prepare`` and ``show`` as users meet them: what they print, and how they fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from trees import iemocap, named
from trees.commands import Ran, Run, failed
from trees.sound import noise
from undertone import audio, manifest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return iemocap.write(tmp_path / "Sprache in Gefühl" / "IEMOCAP")


def test_prepare_says_what_came_out(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "meine Daten" / "m.jsonl"
    ran = run("-q", "prepare", "iemocap", tree, "--out", out)
    assert ran.status == 0
    assert ran.out == f"{out}: 50 utterances · angry 10 · happy 15 · sad 10 · neutral 15\n"
    assert len(manifest.read(out).utterances) == 50


def test_prepare_and_show_speak_json(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    done = json.loads(run("-q", "prepare", "iemocap", tree, "--out", out, "--labels", "all", "--json").out)
    assert done["utterances"] == 60 and done["labels"]["happy"] == 15
    assert "10 transcribed turns that nobody rated" in done["notes"]
    shown = json.loads(run("show", out, "--json", "--validate").out)
    assert (shown["utterances"], shown["unlabelled"], shown["problems"]) == (60, 10, [])
    assert shown["sessions"] == {f"Ses0{s}": 12 for s in range(1, 6)}
    assert shown["tiers"] == {"word": 60, "syllable": 60, "phone": 60}
    assert shown["seconds"] == pytest.approx(
        sum(audio.info(u.audio).duration for u in manifest.read(out).resolved()), abs=1e-3
    )


def test_show_prints_what_people_ask_for(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    run("-q", "prepare", "emodb", named.write_emodb(tmp_path / "emodb"), "--out", out)
    ran = run("show", out, "--validate")
    assert ran.status == 0
    for words in (
        "emodb",
        "5 in 5 recordings",
        "3: 03 2 · 08 1 · 16 2",
        "angry 1 · happy 1 · sad 1",
        "de 5",
        "valid",
    ):
        assert words in ran.out


def test_show_lists_every_problem_and_fails(run: Run, tmp_path: Path) -> None:
    noise(tmp_path / "a.wav")
    lines = [
        {"id": "a", "audio": "a.wav", "end": 9.0},
        {"id": "b", "audio": "gone.wav"},
        {"id": "a", "audio": "a.wav"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ran = run("show", tmp_path / "m.jsonl", "--validate")
    assert ran.status == 1
    assert ran.err == f"undertone: {tmp_path / 'm.jsonl'}: 3 problems\n"
    for what in ("a: the id stands 2 times", "a: ends at 9 s, after the end", "gone.wav: no such file"):
        assert what in ran.out
    as_json = json.loads(run("show", tmp_path / "m.jsonl", "--validate", "--json").out)
    assert [(p["id"], p["kind"]) for p in as_json["problems"]] == [("a", "id"), ("a", "time"), ("b", "audio")]


def test_a_table_is_mapped_on_the_command_line(run: Run, tmp_path: Path) -> None:
    noise(tmp_path / "Klänge" / "1 ä.wav")
    (tmp_path / "c.csv").write_text("datei;gefühl\nKlänge/1 ä.wav;froh\n", encoding="utf-8")
    words = ("--map", "datei=audio", "--map", "gefühl=label", "--label-map", "froh=happy")
    ran = run("prepare", "table", tmp_path / "c.csv", "--out", tmp_path / "m.jsonl", *words)
    assert ran == Ran(0, f"{tmp_path / 'm.jsonl'}: 1 utterances · happy 1\n", "")
    assert manifest.read(tmp_path / "m.jsonl").utterances[0].audio == "Klänge/1 ä.wav"


def test_corpora_have_options_of_their_own(run: Run, tmp_path: Path) -> None:
    root = named.write_cremad(tmp_path / "crema")
    ran = run("-q", "prepare", "cremad", root, "--out", tmp_path / "m.jsonl", "--set", "source=voted")
    assert ran.out.endswith(
        "4 utterances · angry 1 · happy 0 · sad 0 · neutral 2 · fearful 1 · disgusted 0\n"
    )
    failed(
        run("prepare", "ravdess", root, "--out", tmp_path / "n.jsonl", "--seed", "1"),
        "ravdess has no option 'seed'; it has: none",
    )
    failed(
        run("prepare", "cremad", root, "--out", tmp_path / "n.jsonl", "--set", "source=guessed"),
        "cremad: --set source: should be 'intended' or 'voted', not 'guessed'",
    )


# --- bad input: one clear line, status 1, nothing half-written --------------------------------------


def _cut(root: Path) -> str:
    wav = sorted(root.rglob("Ses03F_impro01_F000.wav"))[0]
    wav.write_bytes(wav.read_bytes()[:3000])
    return wav.name


def _empty(root: Path) -> str:
    wav = sorted(root.rglob("Ses03F_impro01_F000.wav"))[0]
    wav.write_bytes(b"")
    return wav.name


def _words(root: Path) -> str:
    wav = sorted(root.rglob("Ses03F_impro01_F000.wav"))[0]
    wav.write_text("a note to self, not a recording " * 9)
    return wav.name


def _gone(root: Path) -> str:
    wav = sorted(root.rglob("Ses03F_impro01_F000.wav"))[0]
    wav.unlink()
    return wav.name


def _no_session(root: Path) -> str:
    shutil.rmtree(root / "Session3")
    return "Session3"


def _new_label(root: Path) -> str:
    file = root / "Session3" / "dialog" / "EmoEvaluation" / "Ses03F_impro01.txt"
    file.write_text(
        file.read_text("latin-1").replace("\tfru\t", "\twow\t").replace("\tneu\t", "\twow\t"), "latin-1"
    )
    return "label 'wow' is not mapped by label set 'iemocap4'"


def _broken_rating(root: Path) -> str:
    file = root / "Session3" / "dialog" / "EmoEvaluation" / "Ses03F_impro01.txt"
    file.write_text("[oops]\n")
    return "Ses03F_impro01.txt, line 1"


BAD = [_cut, _empty, _words, _gone, _no_session, _new_label, _broken_rating]


@pytest.mark.parametrize("spoil", BAD, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_bad_input_is_one_line_and_no_output(
    run: Run, tree: Path, tmp_path: Path, spoil: Callable[[Path], str], suffix: str
) -> None:
    named_as = spoil(tree)
    failed(run("prepare", "iemocap", tree, "--out", tmp_path / "out" / f"m{suffix}"), named_as)
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_an_older_manifest_as_it_was(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    run("-q", "prepare", "iemocap", tree, "--out", out)
    before = {p.name: p.read_bytes() for p in (out, tmp_path / "m.meta.json")}
    _cut(tree)
    failed(run("prepare", "iemocap", tree, "--out", out), "Ses03F_impro01_F000.wav: cut short")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_a_manifest_with_one_broken_line_is_named_by_line(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    run("-q", "prepare", "iemocap", tree, "--out", out)
    lines = out.read_text("utf-8").splitlines()
    lines[41] = lines[41][:-9]
    out.write_text("\n".join(lines), "utf-8")
    for words in (("show",), ("show", "--validate"), ("show", "--json")):
        failed(run(*words, out), "m.jsonl, line 42: not valid JSON")


def test_paths_with_spaces_and_letters_of_all_kinds_are_named_as_they_are(run: Run, tmp_path: Path) -> None:
    failed(run("show", tmp_path / "Grüße, 世界.jsonl"), "Grüße, 世界.jsonl: no such manifest")
    failed(
        run("prepare", "emodb", tmp_path / "kein Ordner ß", "--out", tmp_path / "m.jsonl"), "kein Ordner ß"
    )


def test_a_stereo_float_recording_at_another_rate_is_no_trouble(run: Run, tmp_path: Path) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal((44_100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "1.wav", wave, 44_100, subtype="FLOAT")
    (tmp_path / "c.csv").write_text("audio,end\n1.wav,1.0\n")
    assert run("prepare", "table", tmp_path / "c.csv", "--out", tmp_path / "m.jsonl").status == 0
    assert run("show", tmp_path / "m.jsonl", "--validate").status == 0
    assert len(audio.load(tmp_path / "1.wav")) == audio.RATE


def test_an_unwritable_name_is_refused_before_the_work(run: Run, tree: Path, tmp_path: Path) -> None:
    shutil.rmtree(tree)
    failed(run("prepare", "iemocap", tree, "--out", tmp_path / "m.csv"), "a manifest's name ends in .jsonl")


def test_a_killed_prepare_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from undertone.experiment.prepare import prepare\n"
        "import undertone.manifest.files as files\n"
        "line = files.to_line\n"
        "def dies(u):\n"
        "    if u.turn == 3: raise KeyboardInterrupt\n"
        "    return line(u)\n"
        "files.to_line = dies\n"
        "prepare('iemocap', Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    out = tmp_path / "out" / "m.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(tree), str(out)], capture_output=True, check=False)
    assert b"KeyboardInterrupt" in done.stderr
    assert list(out.parent.iterdir()) == []
