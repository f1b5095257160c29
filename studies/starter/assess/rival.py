"""What words must beat: a logistic regression on tf-idf of word and character n-grams, same sentences.

Trained on the same rows with the same four labels, once for each spelling of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from studies.starter.assess.cases import FOUR
from studies.starter.assess.tables import Table, score

__all__ = ["n_grams"]

STRENGTH = 3.0
"""C of the regression, its classes balanced: the best on a slice of the training side."""


def n_grams(
    train: tuple[Sequence[str], Sequence[str]], test: tuple[Sequence[str], Sequence[str]]
) -> dict[str, Any]:
    """Macro-F1 and UA on ``test`` (texts, labels) after fitting on ``train``."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)
    regression = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=400)
    whole = make_pipeline(make_union(words, letters), regression)
    whole.fit(train[0], train[1])
    columns = [list(whole.classes_).index(label) for label in FOUR]
    truth = np.array([FOUR.index(label) for label in test[1]], np.intp)
    units = [str(index) for index in range(len(truth))]
    tested = Table(truth, whole.predict_proba(test[0])[:, columns], units)
    return {"macro_f1": score(tested, "macro_f1"), "ua": score(tested)}
