import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertone.config import Config, apply_overrides, dump_toml, fingerprint
from undertone.errors import ConfigError


class Inner(Config):
    width: int = 4


class Outer(Config):
    inner: Inner = Inner()
    rate: float = 0.1


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"recipe.toml: unknown key 'inner.widht': .* 'inner.width'\?"):
        Outer.parse({"inner": {"widht": 3}}, "recipe.toml")


def test_a_wrong_type_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"inner\.width"):
        Outer.parse({"inner": {"width": "wide"}})


def test_overrides_reach_inner_tables_and_leave_the_source_alone() -> None:
    source: dict[str, Any] = {"inner": {"width": 4}}
    assert apply_overrides(source, ["inner.width=8", "name=a b"]) == {"inner": {"width": 8}, "name": "a b"}
    assert source == {"inner": {"width": 4}}


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="key=value"):
        apply_overrides({}, ["width"])


_scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
)
_values = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
    st.recursive(
        _scalars,
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.text("abc-_ é", min_size=1, max_size=4), x, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(_values)
def test_toml_written_is_toml_read(values: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(values)) == values


def test_a_fingerprint_does_not_see_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
