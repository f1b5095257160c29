from undertone import errors


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        assert name in drawn
        assert issubclass(getattr(errors, name), errors.UndertoneError)


def test_a_missing_extra_says_how_to_get_it() -> None:
    assert "pip install 'undertone[align]'" in str(errors.MissingExtra("the sphinx aligner", "align"))
