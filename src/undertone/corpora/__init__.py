"""Readers of corpora, one file each: from a release on disk to utterances.

Each is a class built from its folder (and its own options), with

    name     as users type it
    labels   the label set that ``prepare`` uses by default, None: labels as they stand
    notes    after reading: how this copy differs from the release, one line each
    read()   every utterance, in a stable order, audio paths absolute, labels in the corpus' own words
"""

from __future__ import annotations

__all__ = ["CORPORA"]

EXCHANGE = "undertone.corpora.exchange"

CORPORA: dict[str, tuple[str, str]] = {
    "iemocap": ("undertone.corpora.iemocap:Iemocap", "acted dyads, English, 10 speakers, 5 sessions"),
    "meld": ("undertone.corpora.meld:Meld", "scenes of a TV series, English, several speakers a dialogue"),
    "ravdess": ("undertone.corpora.ravdess:Ravdess", "24 actors, 8 emotions, two English sentences"),
    "emodb": ("undertone.corpora.emodb:Emodb", "10 actors, 7 emotions, ten German sentences"),
    "cremad": ("undertone.corpora.cremad:Cremad", "91 actors, 6 emotions, twelve English sentences"),
    "msppodcast": (
        "undertone.corpora.msppodcast:MspPodcast",
        "podcasts, 8 emotions, rated by several people, with arousal, valence and dominance",
    ),
    "table": ("undertone.corpora.table:Table", "your own clips, listed in a csv, jsonl or parquet file"),
    "audiofolder": (f"{EXCHANGE}:AudioFolder", "recordings beside metadata.csv, or in a folder a label"),
    "huggingface": (f"{EXCHANGE}:HuggingFace", "Parquet shards of Hugging Face datasets, audio inside"),
    "audformat": (f"{EXCHANGE}:Audformat", "a database with db.yaml and its tables"),
    "lhotse": (f"{EXCHANGE}:Lhotse", "recordings and supervisions as lhotse keeps them"),
    "speechbrain": (f"{EXCHANGE}:SpeechBrain", "SpeechBrain's json of utterances"),
    "emobox": ("undertone.corpora.emobox:EmoBox", "EmoBox's JSON lines and folds of a corpus that you have"),
    "emosuperb": (
        "undertone.corpora.emobox:EmoSuperb",
        "EMO-SUPERB's tables of a corpus that you have",
    ),
    "kaldi": (f"{EXCHANGE}:Kaldi", "a Kaldi folder: wav.scp, segments, text, utt2spk, utt2emo"),
    "demo": (
        "undertone.corpora.demo.corpus:Demo",
        "synthesised speech, planted emotion, made on the spot",
    ),
}
"""Each corpus: its reader's class, imported when it is used, and what it holds."""
