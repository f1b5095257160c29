"""A model folder on the hub: its page, written from the card, and the way there.

The page is ``README.md`` in the folder, so that the folder is what stands on the hub, file for file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from undertone.errors import ModelError
from undertone.models.folder import FILES, read_card

__all__ = ["page", "push", "write_page"]

PAGE = "README.md"


def page(card: Mapping[str, Any]) -> str:
    """The model's page: what it is, what it was trained on, what was measured, how to use it."""
    corpus = str(card.get("corpus", "unknown"))
    if card.get("synthesised"):
        corpus += " (synthesised speech)"
    encoders = {side: e.get("name", "?") for side, e in dict(card.get("encoders", {})).items()}
    parts = [
        _front_matter(card),
        f"# {card.get('run') or card['system']}: emotion in speech and its words\n",
        f"The system `{card['system']}` of undertone {card.get('undertone', '?')}.\n",
        _table(
            {
                "labels": ", ".join(card["labels"]),
                "corpus": corpus,
                "label set": card.get("label_set", "own"),
                **{f"{side} encoder": name for side, name in encoders.items()},
                "protocol": _line(card.get("protocol", {})),
            }
        ),
        _measured(card),
        "## Use\n\n```python\nimport undertone\n\n"
        'model = undertone.load("path/to/this/folder")\n'
        'model.predict("clip.wav", text="I can\'t believe it").label\n```\n',
        _notes(card),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(card: Mapping[str, Any]) -> str:
    tags = ["speech-emotion-recognition", "multimodal", str(card["system"])]
    lines = ["---", "library_name: undertone", "pipeline_tag: audio-classification", "tags:"]
    return "\n".join([*lines, *(f"- {tag}" for tag in tags), "---", ""])


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items() if value]
    return "\n".join(["| | |", "| --- | --- |", *lines, ""])


def _line(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _measured(card: Mapping[str, Any]) -> str:
    folds = card.get("folds")
    if not folds:
        return ""
    text = json.dumps(folds, indent=2, ensure_ascii=False)
    return f"## Measured\n\nOn the folds that this model's settings come from:\n\n```json\n{text}\n```\n"


def _notes(card: Mapping[str, Any]) -> str:
    notes = [str(note) for note in card.get("notes", ())]
    if card.get("synthesised"):
        notes.append("Trained on synthesised speech: it shows how the tools work, not how people feel.")
    notes.append("Emotion labels are what raters or scripts said, not what anybody felt. "
                 "Do not use them to decide about people.")  # fmt: skip
    return "## Notes\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def write_page(path: Path) -> Path:
    """Write the folder's ``README.md``; returns its path."""
    found = path / PAGE
    part = found.with_name(PAGE + ".part")
    part.write_text(page(read_card(path)), encoding="utf-8", newline="\n")
    part.replace(found)
    return found


def push(path: Path, repository: str, *, private: bool = True, api: Any = None) -> str:
    """Put a model folder on the hub as ``owner/name``; returns its address. Private unless said otherwise.

    Only the model's own files go: nothing else that may lie in the folder. ``api`` is a
    ``huggingface_hub.HfApi``; its own token or the environment's is used.
    """
    if repository.count("/") != 1:
        raise ModelError(f"'{repository}' is not of the form owner/name")
    write_page(path)
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    try:
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=str(path), allow_patterns=[*FILES, PAGE])
    except Exception as error:  # offline, no token, no right to: a dozen kinds
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{repository}: cannot be written to the hub: {first}") from error
    return address
