"""What the guide to clusters shows: its table is the options', its YAML is closed to strangers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from undertone.scale.workers import Workers

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "cluster.md").read_text(encoding="utf-8")


def test_the_table_of_options_is_whole_and_true() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PAGE, re.MULTILINE))
    assert rows.keys() == Workers.model_fields.keys()
    assert Workers.parse(rows) == Workers()


def test_the_cluster_on_kubernetes_asks_for_a_token_and_shows_no_dashboard() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    made: dict[str, Any] = yaml.safe_load(text)
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayCluster")
    spec = made["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        assert "ports" not in container
    assert all(group["minReplicas"] < group["maxReplicas"] for group in groups[1:])
