"""What people install: wheels build, hold what they should, and work in an environment of their own."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import undertone
from trees.served import answering
from undertone.cli.about import EXTRAS

ROOT = Path(__file__).parents[1]
WEIGHTS = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
PLACES = [ROOT, *WEIGHTS]
LARGEST_CORE = 1.3e9
"""Bytes that undertone alone brings into an empty environment, with PyTorch's CPU build and pip's caches."""


def about(place: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def call(*words: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints; its error where it fails. Nothing of this checkout is on its path."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def measured(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*"))


def build(place: Path, out: Path, *kinds: str) -> list[Path]:
    """Its wheel, with ``--sdist`` its source too, made by the hatchling that is installed here."""
    call(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", out, place, folder=out)
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """undertone's wheel."""
    out = tmp_path_factory.mktemp("dist")
    return build(ROOT, out, "--wheel")[0]


def test_the_wheel_has_code_recipes_page_and_no_weights(wheel: Path) -> None:
    assert wheel.name == f"undertone-{undertone.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {"undertone/py.typed", "undertone/recipes/demo/unison.toml"} <= set(names)
    assert any(name.startswith("undertone/serving/web/") for name in names)
    assert any(name.startswith("undertone/evaluation/templates/") for name in names)
    assert not [name for name in names if name.endswith(".safetensors") or name.startswith(("tests", "docs"))]


def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """With the libraries of this environment, and undertone from the wheel alone."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import undertone; print(undertone.__file__);"
        "sys.argv[0] = 'undertone'; from undertone.cli import main; main()"
    )

    def printed(*words: str) -> list[str]:
        return call(sys.executable, "-c", code, tmp_path / "site", *words, folder=tmp_path).splitlines()

    place, *helped = printed("--help")
    assert Path(place).is_relative_to(tmp_path)
    assert "predict" in " ".join(helped)
    assert printed("--version")[-1] == f"undertone {undertone.__version__}"
    assert "demo/unison" in " ".join(printed("list", "recipes"))


def test_the_version_stands_in_one_place() -> None:
    assert about(ROOT)["dynamic"] == ["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0]
    assert newest == undertone.__version__, "the changelog's newest section is this version's"


def test_extras_bring_the_weights_that_stand_here() -> None:
    """What undertone and the weights require of each other fits the versions in this checkout."""
    versions = {about(place)["name"]: about(place)["version"] for place in WEIGHTS}
    assert set(versions) == {"undertone-encoders", "undertone-starter", "undertone-starter-open"}
    extras = about(ROOT)["optional-dependencies"]
    lines = [line for lines in extras.values() for line in lines]
    lines += [line for place in WEIGHTS for line in about(place).get("dependencies", [])]
    own = [one for line in lines if (one := Requirement(line)).name in versions]
    assert {one.name for one in own} == set(versions)
    assert all(one.specifier.contains(versions[one.name]) for one in own)
    for name in ("starter", "starter-open", "encoders"):
        assert f"undertone-{name}" in {Requirement(line).name for line in extras[name]}


BARE = re.compile(r"pip install[^`\n]*?(?<![\w./-])undertone(?![\w./-]|'s)")
"""An install by the bare name, which brings another project from PyPI."""


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("pip install -U undertone", True),
        ("pip install 'undertone[serve,otel]'", True),
        ('pip install --find-links dist "undertone[demo]"', True),
        ("pip install ./packages/undertone-encoders", False),
        ('pip install "dist/undertone-0.2.0-py3-none-any.whl[demo]"', False),
        ("pip install ./packages/undertone-starter in undertone's checkout", False),
    ],
)
def test_what_an_install_by_the_bare_name_is(line: str, bare: bool) -> None:
    assert bool(BARE.search(line)) is bare


def test_nothing_tells_a_person_to_install_another_projects_package() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "packages").rglob("*.md")]
    pages += [*(ROOT / "src" / "undertone").rglob("*.py"), ROOT / "Dockerfile"]
    bare = [f"{path}: {line[0]}" for path in pages for line in BARE.finditer(path.read_text("utf-8"))]
    assert not bare


UNDER = {"h11", "starlette", "ctranslate2", "pyannote", "yaml"}
"""Parts of uvicorn, fastapi, faster-whisper and huggingface-hub; pyannote is for those who have it."""


def test_everything_that_is_imported_is_declared() -> None:
    """By an extra or the core: a wheel brings what its code imports."""
    imported = set()
    for path in (ROOT / "src" / "undertone").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    extras = {name: lines for name, lines in about(ROOT)["optional-dependencies"].items() if name in EXTRAS}
    lines = [*about(ROOT)["dependencies"], *(line for lines in extras.values() for line in lines)]
    declared = {Requirement(line).name.replace("-", "_") for line in lines} | {
        module.partition(".")[0] for modules in EXTRAS.values() for module in modules
    }
    assert imported - set(sys.stdlib_module_names) - UNDER <= declared


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name)
def test_a_workflow_fits_the_schema_of_workflows(path: Path) -> None:
    """Syntax alone: whether it passes is known only where it runs."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    call(checker, "--builtin-schema", "vendor.github-workflows", path, folder=ROOT)


@pytest.mark.timeout(7200)
@pytest.mark.slow  # installs PyTorch into a new environment, runs the demo, predicts, serves: minutes
def test_everything_installs_and_works_in_a_new_environment(tmp_path: Path) -> None:
    """Wheels made of the sdists, as an index would have them, installed by pip with the tested versions."""
    dist = tmp_path / "dist"
    dist.mkdir()
    for place in PLACES:
        build(place, dist)
    assert len(list(dist.glob("*.whl"))) == len(list(dist.glob("*.tar.gz"))) == len(PLACES)

    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    empty = measured(tmp_path / "env")
    work = tmp_path / "work"
    work.mkdir()
    pip = [scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    made = next(dist.glob("undertone-*.whl"))  # by its file: on PyPI the name is another project's
    call(*pip, "--find-links", dist, made, folder=work)
    whole = measured(tmp_path / "env")
    print(f"core install: {(whole - empty) / 1e6:.0f} MB, with pip's own {whole / 1e6:.0f} MB")
    assert whole - empty <= LARGEST_CORE
    extras = "starter,starter-open,demo,report,serve,vad"
    call(*pip, "--find-links", dist, f"{made}[{extras}]", folder=work)

    def command(*words: str | Path) -> str:
        cache = str(tmp_path / "cache")
        return call(scripts / "undertone", *words, folder=work, UNDERTONE_CACHE=cache, HF_HUB_OFFLINE="1")

    models = {row["name"] for row in json.loads(command("list", "models", "--json"))}
    assert models == {"starter", "starter-open"}
    command("demo", "--quick")
    assert (work / "runs" / "demo-quick" / "report.html").stat().st_size > 50_000
    clip = min((work / "runs" / "demo-quick" / "corpus").rglob("*.wav"))
    answer = json.loads(command("predict", clip, "--text", "so glad you came", "--format", "json"))
    assert set(answer["probabilities"]) == {"angry", "happy", "sad", "neutral"}
    assert answer["modalities"] == ["speech", "text"]
    corpus = work / "runs" / "demo-quick" / "corpus.jsonl"
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    for row in rows[:: len(rows) // 60][:60]:
        place = work / "clips" / row["label"] / f"speaker-{row['speaker']}_{row['id']}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus.parent / row["audio"], place)
        place.with_suffix(".txt").write_text(row["text"], encoding="utf-8")
    command("study", "clips", "--out", "mine")
    assert (work / "mine" / "report.html").exists()
    assert json.loads(command("predict", clip, "--model", "mine", "--format", "json"))["modalities"]
    with answering([str(scripts / "undertone"), "serve"], work, HF_HUB_OFFLINE="1") as ask:
        assert ask("/readyz").status == 200
        card = json.loads(ask("/v1/model").read())["card"]
        assert card["licence"] == "CC-BY-NC-SA-4.0"
