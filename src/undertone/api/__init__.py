"""What a program or a notebook needs, in the words of the command line: fifteen names of ``undertone``.

>>> import undertone
>>> undertone.score(["happy", "sad", "sad"], ["happy", "sad", "happy"])["ua"]
0.75

``predict``, ``timeline``, ``crossval``, ``report`` and ``audit`` give a pandas DataFrame with ``frame=True``
(the extra ``frames``), and what ``fuse`` gives has ``frame()``. What takes long has ``watch``, called with
how many of how many are done. Nothing here keeps state: a predictor of ``undertone.load`` may be used from
several threads.
"""

from undertone.api.experiments import crossval, report, study
from undertone.api.fusing import fuse, fuse_posteriors
from undertone.api.recordings import predict, timeline
from undertone.api.scores import score
from undertone.api.stages import align, audit, extract, prepare

__all__ = [
    "align",
    "audit",
    "crossval",
    "extract",
    "fuse",
    "fuse_posteriors",
    "predict",
    "prepare",
    "report",
    "score",
    "study",
    "timeline",
]
