"""The tree of errors, and what a message about a missing package says."""

from __future__ import annotations

import pickle
import re
import shlex

from undertone import errors


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        one = getattr(errors, name)
        if isinstance(one, type):
            assert name in drawn
            assert issubclass(one, errors.UndertoneError)


def test_a_missing_extra_names_packages_that_an_index_has() -> None:
    """undertone is on no index: ``pip install undertone[align]`` would fetch somebody else's, or nothing."""
    error = errors.MissingExtra("the sphinx aligner", "align")
    assert str(error).endswith("needs the extra 'align': " + errors.install_line("align"))
    words = shlex.split(errors.install_line("align"))
    assert words[:2] == ["pip", "install"]
    assert [re.split("[<>=]", word)[0] for word in words[2:]] == ["espeakng-loader", "pocketsphinx"]
    assert "undertone[" not in errors.install_line("align") + errors.install_line("nothing")


def test_a_missing_extra_comes_back_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(errors.MissingExtra("a report", "report")))
    assert (error.feature, error.extra) == ("a report", "report")
