"""One file that needs nothing else, names what it rests on, and escapes whatever comes from data."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from undertone.errors import ConfigError, DataError, MissingExtra
from undertone.evaluation.report import envelope, render

Make = Callable[..., Path]
VOID = {"meta", "line", "rect", "circle", "path", "br", "link", "img"}


class Shape(HTMLParser):
    """Which elements there are, and whether all are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def three(runs: Make) -> list[Path]:
    return [runs("unison", 2.6), runs("speech", 0.8, sides=False), runs("concat", 1.4)]


def test_the_page_needs_nothing_but_itself(three: list[Path], tmp_path: Path) -> None:
    render(three, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    shape = Shape(text)
    assert shape.open == []
    assert not shape.seen & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|url\(|@import|src=", text)
    assert "prefers-color-scheme: dark" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.md", "runs"]


def test_every_part_is_there(three: list[Path], tmp_path: Path) -> None:
    render(three, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    names = "numbers groups confusion folds learning calibration ablation map example protocol".split()
    assert re.findall(r'<section id="(\w+)"', text) == names
    assert all(f'href="#{name}"' in text for name in names)
    for words in (
        "scripted",
        "unseen in training",
        "under 5 dB",
        "Holm",
        "McNemar",
        "reconstruction",
        "loso",
    ):
        assert words in text


def test_the_numbers_on_the_page_are_the_results(three: list[Path], tmp_path: Path) -> None:
    results = render(three, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for result in results:
        ua = result.intervals["ua"]
        shown = f"{100 * ua.value:.1f}"
        assert shown in page
        assert f"| {result.name} | {shown} ({100 * ua.low:.1f}–{100 * ua.high:.1f}) |" in markdown


def test_the_sentence_names_those_that_are_behind(three: list[Path], tmp_path: Path) -> None:
    render(three, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    sentence = re.search(r'<p class="finding">(.*?)</p>', text)
    assert sentence
    assert sentence[1].startswith("<b>unison</b> recognises")
    assert "ahead of <b>speech</b> and <b>concat</b>" in sentence[1]


def test_the_reference_is_the_first_run_unless_another_is_named(three: list[Path], tmp_path: Path) -> None:
    for name, wanted in (("unison", None), ("concat", "concat")):
        render(three, tmp_path / "report.html", reference=wanted)
        assert f"against {name}" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["r.pdf", "r", "r.html.zip"])
def test_a_report_of_another_kind_is_refused_and_nothing_is_written(
    runs: Make, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"a page \(.html\)"):
        render([runs("unison")], tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_markdown_alone_may_be_named_and_the_page_lies_beside_it(runs: Make, tmp_path: Path) -> None:
    render([runs("unison")], tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text(encoding="utf-8").startswith("# demo")
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_reference_that_is_not_among_the_runs_is_refused(runs: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'unison'"):
        render([runs("unison"), runs("speech")], tmp_path / "r.html", reference="unisno")


def test_the_headline_names_missing_folds_and_gives_no_interval(runs: Make, tmp_path: Path) -> None:
    folder = runs("unison", seeds=(0,))
    for session in (3, 4):
        (folder / f"session-{session}" / "0" / "done.json").unlink()
    render([folder, runs("speech", seeds=(0,))], tmp_path / "r.html")
    page, text = ((tmp_path / f"r.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    sentence = re.search(r'<p class="finding">(.*?)</p>', page)
    assert sentence
    assert "3 of 5 folds, unfinished: session-3, session-4; no interval" in sentence[1]
    assert "interval nan" not in page and "nan" not in page.replace("nano", "")
    assert re.search(r"\| unison \| [\d.]+ \(no interval\) \|", text)
    assert "3 of 5 folds, unfinished: session-3, session-4" in text.split("## The numbers")[0]


def test_speakers_as_units_are_stamped_on_the_page(runs: Make, tmp_path: Path) -> None:
    render([runs("unison"), runs("speech")], tmp_path / "r.html", unit="speaker")
    assert "speakers are the units though they talk with each other" in (tmp_path / "r.html").read_text()
    render([runs("other"), runs("text")], tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert (
        "Student&#39;s t with the session as unit" in page or "Student's t with the session as unit" in page
    )


def test_a_result_under_another_card_carries_a_mark_and_the_page_a_warning(
    runs: Make, tmp_path: Path
) -> None:
    render([runs("unison", 2.0), runs("chosen", 2.0, selection="test")], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "chosen<sup>a</sup>" in text
    assert "selection: &#39;validation&#39; ≠ &#39;test&#39;" in text
    assert "chosen: the epoch was selected on test, so it is optimistic" in text
    markdown = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "chosen (a)" in markdown
    assert "(a) does not compare: selection" in markdown


def test_a_leaking_split_stands_before_the_numbers(runs: Make, tmp_path: Path) -> None:
    stamps = ("leaking: utterances split at random",)
    render([runs("concat", stamps=stamps)], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.index("utterances split at random") < text.index('id="numbers"')


def test_published_numbers_stand_beside_iemocap_only(runs: Make, tmp_path: Path) -> None:
    render([runs("mgcma", corpus="iemocap", labels="iemocap4")], tmp_path / "a.html")
    render([runs("other")], tmp_path / "b.html")
    theirs, ours = ((tmp_path / f"{n}.html").read_text(encoding="utf-8") for n in "ab")
    assert "MemoCMT" in theirs
    assert "random split that shares speakers" in theirs
    assert "MemoCMT" not in ours
    assert "MemoCMT" in (tmp_path / "a.md").read_text(encoding="utf-8")


EVIL = "<script>alert(1)</script>\"'&|*"


def test_nothing_from_data_becomes_html(runs: Make, tmp_path: Path) -> None:
    folder = runs("unison")
    values = json.loads((folder / "example.json").read_text(encoding="utf-8"))
    values |= {"id": EVIL, "text": EVIL, "truth": EVIL}
    values["words"][0]["text"] = values["tiers"]["word"][0]["text"] = EVIL
    values["modalities"] = {EVIL: 0.5}
    (folder / "example.json").write_text(json.dumps(values), encoding="utf-8")
    facts = [json.loads(line) for line in (folder / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [
        json.dumps(row | {"speaker": f"{EVIL}{row['speaker']}", "kind": EVIL + row["session"]})
        for row in facts
    ]
    (folder / "facts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {"corpus": EVIL, "notes": [EVIL], "encoders": {EVIL: EVIL}, "machine": EVIL}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    render([folder], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    shape = Shape(text)
    assert "script" not in shape.seen
    assert shape.open == []
    assert sum(EVIL in words for words in shape.words) >= 8
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_bare_run_still_makes_a_page(runs: Make, tmp_path: Path) -> None:
    folder = runs("text", seeds=(0,), sides=False, example=False)
    for path in [
        *folder.glob("*/*/history.jsonl"),
        *folder.glob("*/*/embeddings.npz"),
        folder / "facts.jsonl",
    ]:
        path.unlink()
    (result,) = render([folder], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.unit.startswith("utterance")
    assert "no speakers known, so its intervals are too narrow" in text
    assert not re.search(r'id="(learning|map|example|groups|ablation)"', text)


def test_settings_of_one_system_are_set_beside_each_other(runs: Make, tmp_path: Path) -> None:
    one = runs("unison", 2.0, recipe={"system": "unison", "model": {"width": 64}})
    two = runs("narrow", 1.8, recipe={"system": "unison", "name": "narrow", "model": {"width": 32}})
    render([one, two], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "unison, one setting after another" in text
    assert "model.width = 32" in text


def test_runs_that_tested_other_utterances_are_shown_but_not_tested(runs: Make, tmp_path: Path) -> None:
    from undertone.evaluation import runs as reading

    whole = runs("unison", 2.0)
    spoken = [u for u in _people() if not u.id.endswith("9")]
    part = runs("concat", 1.4, utterances=spoken)
    assert len(reading.read(part).predictions.ids) < len(reading.read(whole).predictions.ids)
    render([whole, part], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "concat<sup>a</sup>" in text
    assert "did not test the same utterances" in text


def _people() -> list[object]:
    from undertone import splits
    from undertone.types import Utterance

    made = [
        Utterance(
            f"s{i % 5}-{i:03}",
            f"{i}.wav",
            speaker=f"{i % 5}{'FM'[i // 5 % 2]}",
            session=str(i % 5),
            dialogue=f"d{i % 5}",
            label=("angry", "happy", "sad", "neutral")[i // 3 % 4],
        )
        for i in range(150)
    ]
    assert splits.make(made, "loso")
    return [replace(u) for u in made]


def test_what_a_sweep_found_is_shown(runs: Make, tmp_path: Path) -> None:
    one, two = runs("unison", 2.0), runs("concat", 1.4)
    rows = [{"at": "20 dB", "ua": 0.612, "wa": 0.6}, {"at": "0 dB <b>", "ua": 0.334, "wa": 0.3}]
    (one / "stress.json").write_text(json.dumps({"sweeps": {"added noise": rows}}), encoding="utf-8")
    render([one, two], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = text[text.index('id="stress"') :].split("</section>")[0]
    assert all(
        shown in section for shown in ("added noise", "20 dB", ">61<", "0 dB &lt;b&gt;", ">33<", ">–<")
    )


def test_no_runs_make_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run"):
        render([], tmp_path / "report.html")


def test_without_jinja_the_extra_is_named(
    runs: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"the extra .report.: pip install"):
        render([runs("unison", seeds=(0,))], tmp_path / "report.html")


def test_an_envelope_holds_every_peak() -> None:
    wave = np.zeros(10_000)
    wave[1234], wave[7777] = 0.9, -0.8
    found = envelope(wave)
    assert len(found["low"]) == len(found["high"]) == 600
    assert (max(found["high"]), min(found["low"])) == (0.9, -0.8)
    assert len(envelope(wave[:10])["low"]) == 10


def test_people_read_points_everywhere_and_json_holds_fractions(
    runs: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from undertone.cli.experiments import show_scores

    results = render([runs("unison")], tmp_path / "r.html")
    ece = results[0].calibration["ece"]
    assert ece and 0 < ece < 1 and results[0].plain()["ece"] == pytest.approx(ece)
    show_scores(results)
    printed = capsys.readouterr().out
    places = [(tmp_path / f"r.{end}").read_text(encoding="utf-8") for end in ("html", "md")]
    assert all(f"{100 * ece:.1f}" in text and f"{ece:.3f}" not in text for text in (printed, *places))
    assert "points" in printed and all("ECE in points" in text for text in places)


def test_the_command_refuses_an_unknown_reference_and_another_kind_of_file(
    runs: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from undertone.cli.app import main

    folder = str(runs("speech"))
    for options, why in ((["--reference", "spech"], "did you mean 'speech'?"), (["--out", "r.pdf"], "r.pdf")):
        monkeypatch.setattr(sys, "argv", ["undertone", "report", folder, *options])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1 and why in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["undertone", "report", folder, "--unit", "dialogue"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_system_below_the_linear_probe_is_marked(runs: Make, tmp_path: Path) -> None:
    good, weak = runs("good", 2.5), runs("weak", 0.5)
    probe = runs("probe", 1.5, recipe={"system": "probe", "model": {"strengths": [0.1]}})
    render([good, weak, probe], tmp_path / "r.md")
    lines = (tmp_path / "r.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "linear probe" in line] == [
        "> **weak: below the linear probe 'probe'**"
    ]
