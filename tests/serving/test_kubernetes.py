"""No cluster is at hand here, so the manifests are read and held to what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.tokens import read_tokens

yaml: Any = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"


def read(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return manifest


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    template: dict[str, Any] = read("deployment.yaml")["spec"]["template"]
    return template


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["spec"]["containers"]
    return dict(one)


def test_the_kustomization_names_what_is_there_and_no_secret() -> None:
    made = read("kustomization.yaml")
    assert all((FOLDER / name).is_file() for name in made["resources"])
    assert "secret.example.yaml" not in made["resources"]
    assert {read(name)["kind"] for name in made["resources"]} == {"Namespace", "Deployment", "Service"}
    assert read("namespace.yaml")["metadata"]["name"] == made["namespace"]


def test_the_pod_is_not_root_and_may_nothing(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    user = pod["spec"]["securityContext"]["runAsUser"]
    assert f"--uid {user} undertone" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    inside = container["securityContext"]
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}


def test_there_are_probes_limits_and_time_to_end(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    drain = float(next(a for a in container["args"] if "drain_seconds" in a).rpartition("=")[2])
    period = container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]
    assert drain > period  # it is out of the service before the port closes
    assert pod["spec"]["terminationGracePeriodSeconds"] > drain + ServerSettings().shutdown_seconds


def test_what_is_mounted_is_what_the_command_names(pod: dict[str, Any], container: dict[str, Any]) -> None:
    arguments = dict(a.removeprefix("--").split("=", 1) for a in container["args"][2:])
    mounts = {one["name"]: one for one in container["volumeMounts"]}
    assert arguments["model"] == mounts["model"]["mountPath"]
    assert Path(arguments["token-file"]).parent == Path(mounts["tokens"]["mountPath"])
    assert "subPath" not in mounts["tokens"]  # such a file would not change with the secret
    assert {one["name"] for one in pod["spec"]["volumes"]} == set(mounts)
    secret = read("secret.example.yaml")
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "tokens"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert Path(arguments["token-file"]).name in secret["stringData"]


def test_the_service_finds_the_pods(pod: dict[str, Any], container: dict[str, Any]) -> None:
    service = read("service.yaml")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert read("deployment.yaml")["spec"]["selector"]["matchLabels"] == service["selector"]
    assert service["ports"][0]["targetPort"] in {port["name"] for port in container["ports"]}


def test_the_command_is_one_that_there_is(container: dict[str, Any]) -> None:
    from typer.testing import CliRunner

    from undertone.cli.app import load

    shown = CliRunner().invoke(load(), ["serve", "--help"], env={"COLUMNS": "200"}).output
    for argument in container["args"][2:]:
        assert argument.partition("=")[0] in shown


def test_the_secret_of_the_example_is_read(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(read("secret.example.yaml")["stringData"]["tokens"])
    callers = read_tokens(tmp_path / "tokens")
    assert [(one.name, one.per_minute) for one in callers] == [("admin", 0), ("call-centre", 600)]
