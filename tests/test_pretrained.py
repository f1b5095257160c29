"""Messages about pretrained models that cannot be had: whole, in a line, with the way out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from undertone.errors import ModelError
from undertone.pretrained import locate

RESPONSE: Any = SimpleNamespace(headers={}, request=None)
LONG = "Something went wrong.\n\n" + "It is a long story, " * 30 + "and it has an end."


def _offline(cause: BaseException) -> Exception:
    error = errors.LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "revision", "parts"),
    [
        (_offline(errors.OfflineModeIsEnabled("off")), None, ("HF_HUB_OFFLINE=1", "`hf download org/name`")),
        (_offline(OSError("no route to host")), None, ("(no route to host)", "`hf download org/name`")),
        (
            errors.GatedRepoError("403", response=RESPONSE),
            None,
            ("gated", "https://huggingface.co/org/name", "hf auth login"),
        ),
        (errors.RepositoryNotFoundError("404", response=RESPONSE), None, ("check the name", "hf auth login")),
        (errors.RevisionNotFoundError("404", response=RESPONSE), "v9", ("'v9'",)),
        (OSError(LONG), None, ("Something went wrong. It is a long story,", "and it has an end.")),
    ],
)
def test_an_error_of_the_hub_is_whole_and_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, revision: str | None, parts: tuple[str, ...]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError) as raised:
        locate("org/name", revision)
    message = str(raised.value)
    assert message.startswith("org/name: ") and "\n" not in message
    assert all(part in message for part in parts), message
    assert message.count("(") == message.count(")") and message.count("`") % 2 == 0
