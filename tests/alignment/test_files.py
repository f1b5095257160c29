"""Boundary files: what is written is read again; both forms of TextGrid; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undertone.alignment.nesting import nest
from undertone.alignment.sources import open_source
from undertone.alignment.table import read_ctm, read_table, read_tables
from undertone.alignment.textgrid import read_textgrid, write_textgrid
from undertone.errors import AlignmentError
from undertone.types import Alignment, Segment, Utterance

SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
4
"IntervalTier"
"A1 - words"
0
1.5
4
0
0.14
""
0.14
0.5
"she"
0.5
0.9
"said ""no"""
0.9
1.5
"<eps>"
"IntervalTier"
"A1 - phones"
0
1.5
5
0
0.14
"sil"
0.14
0.3
"SH"
0.3
0.5
"IY1"
0.5
0.9
"S"
0.9
1.5
"sp"
"TextTier"
"tones"
0
1.5
1
0.4
"H*"
"IntervalTier"
"notes"
0
1.5
1
0
1.5
"take 2"
'''
LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.14
            text = ""
        intervals [2]:
            xmin = 0.14
            xmax = 0.5
            text = "she"
        intervals [3]:
            xmin = 0.5
            xmax = 0.9
            text = "said ""no"""
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0.14
            xmax = 0.3
            text = "SH"
        intervals [2]:
            xmin = 0.3
            xmax = 0.5
            text = "IY1"
        intervals [3]:
            xmin = 0.5
            xmax = 0.9
            text = "S"
'''
EXPECTED = Alignment(
    word=(Segment("she", 0.14, 0.5), Segment('said "no"', 0.5, 0.9)),
    phone=(Segment("SH", 0.14, 0.3), Segment("IY1", 0.3, 0.5), Segment("S", 0.5, 0.9)),
)


@pytest.mark.parametrize("text", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_both_forms_of_textgrid_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(text.replace("<eps>", "sp"), encoding=encoding)
    assert read_textgrid(path) == EXPECTED


@pytest.mark.parametrize("text", ["", "RIFF", SHORT[:200], LONG[:400], SHORT.replace("TextGrid", "Pitch")])
def test_what_is_no_textgrid_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(AlignmentError, match=r"a\.TextGrid"):
        read_textgrid(tmp_path / "a.TextGrid")
    with pytest.raises(AlignmentError, match="no such file"):
        read_textgrid(tmp_path / "b.TextGrid")


segments = st.lists(
    st.builds(
        lambda text, start, length: Segment(text, start, round(start + length, 6)),
        st.text("abcÄé\"'ŋ", min_size=1, max_size=5),
        st.integers(0, 4_000_000).map(lambda n: n / 1e6),
        st.integers(1, 900_000).map(lambda n: n / 1e6),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(segments, segments, segments)
def test_a_textgrid_comes_back_as_it_went(
    tmp_path: Path, words: list[Segment], syllables: list[Segment], phones: list[Segment]
) -> None:
    alignment = nest(words, syllables, phones)
    write_textgrid(tmp_path / "a.TextGrid", alignment, 6.0)
    assert read_textgrid(tmp_path / "a.TextGrid") == alignment


def test_ctm_keeps_confidence_and_names_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.ctm"
    path.write_text(";; made by hand\nu1 1 0.1 0.2 she 0.98\nu1 A 0.3 0.1 <sil>\nu2 1 0 1 had NA\n")
    assert read_ctm(path) == {"u1": [Segment("she", 0.1, 0.3, 0.98)], "u2": [Segment("had", 0.0, 1.0)]}
    path.write_text("u1 1 0.1 she\n")
    with pytest.raises(AlignmentError, match=r"a\.ctm, line 1"):
        read_ctm(path)


def test_rows_without_a_label_continue_the_row_before(tmp_path: Path) -> None:
    path = tmp_path / "phones.csv"
    path.write_text(
        "path,start_s,end_s,label\na.wav,0.1,0.2,l\na.wav,0.2,0.3,\na.wav,0.3,0.35,-lar\na.wav,0.35,0.4,.\na.wav,0.4,0.5,(\n"
    )
    assert read_table(path) == {"a.wav": [Segment("l", 0.1, 0.35)]}


@pytest.mark.parametrize(
    ("text", "what"),
    [("path,begin,label\n", "no column for the end"), ("id,start,end,word\na,x,1,b\n", "line 2")],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(AlignmentError, match=what):
        read_table(tmp_path / "t.csv")


def test_tables_nest_and_gain_syllables(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("path,start,end,word\nx/a.wav,0,1,happy\n")
    (tmp_path / "phones.csv").write_text(
        "path,start,end,phone\n"
        + "".join(f"x/a.wav,{i / 4},{(i + 1) / 4},{p}\n" for i, p in enumerate("hh ae p iy".split()))
    )
    (alignment,) = read_tables(tmp_path / "words.csv", None, tmp_path / "phones.csv").values()
    assert [s.text for s in alignment.syllable] == ["hh_ae", "p_iy"]


def test_a_folder_may_hold_ctm_and_csv(tmp_path: Path) -> None:
    (tmp_path / "words.ctm").write_text("u1 1 0 1 happy\n")
    (tmp_path / "phones.csv").write_text("path,start,end,phone\nu1,0,0.5,hh\nu1,0.5,1,iy\n")
    alignment = open_source(tmp_path)(Utterance("u1", "u1.wav"))
    assert alignment is not None and [s.text for s in alignment.syllable] == ["hh_iy"]


def test_given_boundaries_are_found_where_they_are(tmp_path: Path) -> None:
    write_textgrid(tmp_path / "u1.TextGrid", EXPECTED)
    own = Utterance("u1", str(tmp_path / "u1.wav"), text='She said "no"')
    for source in (None, tmp_path):
        alignment = open_source(source)(own)
        assert alignment is not None and [w.chars for w in alignment.word] == [(0, 3), (4, 12)]
    assert open_source(tmp_path)(Utterance("u2", "elsewhere/u2.wav")) is None
    (tmp_path / "words.csv").write_text("path,start,end,word\nwav/u3.wav,0,1,happy\n")
    alignment = open_source(tmp_path)(Utterance("three", "/data/wav/u3.wav"))
    assert alignment is not None and alignment.word[0].text == "happy"
    (tmp_path / "w.ctm").write_text("u4 1 0 1 sad\n")
    alignment = open_source(tmp_path / "w.ctm")(Utterance("u4", "u4.wav"))
    assert alignment is not None and alignment.word[0].text == "sad"
    kept = open_source(None)(Utterance("u5", "u5.wav", alignment=EXPECTED))
    assert kept is not None and kept.word == EXPECTED.word and kept.syllable


def test_an_empty_folder_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(AlignmentError, match="neither TextGrids nor"):
        open_source(tmp_path)
