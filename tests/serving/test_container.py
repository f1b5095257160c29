"""No engine builds the container here, so its files are read and held to what they promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def install_lines(text: str) -> set[str]:
    """What is installed of undertone, whatever pip's own switches."""
    return set(re.findall(r'pip install (?:--no-cache-dir )?("\.\[[^"]*\]")', text))


def test_the_container_installs_what_the_readme_installs() -> None:
    readme = install_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    container = install_lines(DOCKERFILE)
    assert container
    assert container <= readme


def test_everything_that_is_copied_exists() -> None:
    copied = [word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert copied
    missing = [word for word in copied if not (ROOT / word).exists()]
    assert not missing


def test_the_container_is_slim_not_root_healthy_and_never_without_a_token() -> None:
    assert re.search(r"^FROM python:3\.\d+-slim$", DOCKERFILE, re.M)
    user = DOCKERFILE.rindex("\nUSER undertone")
    assert user < DOCKERFILE.rindex("\nCMD ")
    assert "HEALTHCHECK" in DOCKERFILE and "/readyz" in DOCKERFILE
    command = DOCKERFILE[DOCKERFILE.rindex("\nCMD ") :]
    assert "0.0.0.0" in command
    assert "--insecure" not in DOCKERFILE + COMPOSE
    assert "ffmpeg" not in re.sub(r"^#.*$", "", DOCKERFILE, flags=re.M)


def test_compose_demands_a_token_and_gives_time_to_finish() -> None:
    yaml: Any = pytest.importorskip("yaml")
    service = yaml.safe_load(COMPOSE)["services"]["undertone"]
    assert service["environment"]["UNDERTONE_TOKEN"].startswith("${UNDERTONE_TOKEN:?")
    assert service["read_only"] is True
    assert service["volumes"][0].endswith(":ro")
    assert int(service["stop_grace_period"].removesuffix("s")) > 60


def test_the_unit_in_the_guide_lets_accepted_requests_finish() -> None:
    guide = (ROOT / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
    unit = re.search(r"```ini\n(.*?)```", guide, re.S)
    assert unit is not None
    for line in (
        "KillMode=mixed",
        "TimeoutStopSec=",
        "NoNewPrivileges=yes",
        "EnvironmentFile=",
        "DynamicUser=yes",
    ):
        assert line in unit[1], line
