"""IEMOCAP's boundary files, with their oddities."""

from __future__ import annotations

from pathlib import Path

import pytest

from trees.tiers import is_nested
from undertone.alignment.given import is_silence, read_iemocap
from undertone.errors import AlignmentError

WORDS = """\t SFrm\t EFrm\t   SegAScr Word
        0       13      -120934 <s>
       14       40       -88120 EXCUSE
       41       60       -70000 ME(2)
       61       70       -10000 ++LAUGHTER++
       71       80       -10000 <sil>
       81       99       -10000 </s>
 Total score:     -309054
"""
PHONES = """  SFrm  EFrm  SegAScr  Phone
   0  13 -1 SIL
  14  19 -1 IH SIL K b
  20  23 -1 K IH S i
  24  28 -1 S K K i
  29  30 -1 K S Y i
  31  32 -1 Y K UW i
  33  36 -1 UW Y Z i
  37  40 -1 Z UW M e
  41  50 -1 M Z IY b
  51  60 -1 IY M SIL e
  61  70 -1 +LAUGH+ IY SIL
  71  99 -1 SIL
 Total score: -9
"""
SYLLABLES = """ SFrm EFrm SegAScr Syl
 14 23 -1 IH K
 24 40 -1 S K Y UW Z
 41 60 -1 M-IY odd label_(2)
Total score: -3
"""


def write(folder: Path, **files: str) -> list[Path]:
    for name, text in files.items():
        (folder / f"u.{name}").write_text(text, encoding="utf-8")
    return [folder / f"u.{name}" for name in ("wdseg", "syseg", "phseg")]


def test_frames_are_hundredths_with_both_ends_in(tmp_path: Path) -> None:
    alignment = read_iemocap(*write(tmp_path, wdseg=WORDS, syseg=SYLLABLES, phseg=PHONES))
    assert [(w.text, w.start, w.end) for w in alignment.word] == [("EXCUSE", 0.14, 0.41), ("ME", 0.41, 0.61)]
    assert [p.text for p in alignment.phone] == "IH K S K Y UW Z M IY".split()
    assert alignment.phone[0].start == 0.14 and alignment.phone[-1].end == 0.61
    assert [(s.start, s.end) for s in alignment.syllable] == [(0.14, 0.24), (0.24, 0.41), (0.41, 0.61)]
    assert is_nested(alignment)


def test_missing_syllables_are_derived_from_the_phones(tmp_path: Path) -> None:
    word, syllable, phone = write(tmp_path, wdseg=WORDS, phseg=PHONES)
    expected = ["IH_K", "S_K_Y_UW_Z", "M_IY"]
    assert [s.text for s in read_iemocap(word, syllable, phone).syllable] == expected
    assert [s.text for s in read_iemocap(word, None, phone).syllable] == expected


def test_missing_files_are_empty_tiers(tmp_path: Path) -> None:
    word, syllable, phone = write(tmp_path, syseg=SYLLABLES)
    assert read_iemocap(word, syllable, phone).tiers == ("syllable",)
    assert read_iemocap(None, None, None).tiers == ()


def test_words_point_into_the_transcript(tmp_path: Path) -> None:
    word, _, phone = write(tmp_path, wdseg=WORDS, phseg=PHONES)
    text = "Excuse me. [LAUGHTER]"
    assert [text[slice(*w.chars)] for w in read_iemocap(word, None, phone, text).word if w.chars] == [
        "Excuse",
        "me",
    ]


@pytest.mark.parametrize("line", ["  x  13 -1 AH", "  13", "  20  10 -1 AH", " -3 4 -1 AH"])
def test_bad_times_name_file_and_line(tmp_path: Path, line: str) -> None:
    paths = write(tmp_path, wdseg=WORDS.splitlines()[0] + "\n" + line + "\n")
    with pytest.raises(AlignmentError, match=r"u\.wdseg, line 2"):
        read_iemocap(*paths)


def test_silence_and_noise_are_known_by_name() -> None:
    assert all(
        map(
            is_silence,
            ["<s>", "</s>", "<sil>", "SIL", "sp", "++BREATHING++", "[noise]", "<sil>(2)", "h#", ""],
        )
    )
    assert not any(map(is_silence, ["SILLY", "S", "A(2)", "SIX", "<unk>", "spn"]))
