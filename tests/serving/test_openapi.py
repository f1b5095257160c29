"""Schemathesis makes requests from the OpenAPI document, right and wrong ones: the server never breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis: pip install 'undertone[dev]'")

ROUTES = [
    ("POST", "/v1/predict"),
    ("POST", "/v1/predict/batch"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/{name}"),
    ("GET", "/v1/jobs/{name}/result"),
    ("DELETE", "/v1/jobs/{name}"),
    ("GET", "/v1/model"),
    ("GET", "/v1/models"),
    ("POST", "/v1/models/reload"),
    ("GET", "/v1/examples"),
    ("GET", "/v1/examples/{name}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One that takes jobs and recognises words."""
    running = start_server(job_folder=str(tmp_path_factory.mktemp("jobs")), recogniser=0.0)
    yield running
    running.stop()
    running.process.stderr.close()


def test_all_routes_of_the_document_are_tried(server: Any) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert documented == set(ROUTES)


@pytest.mark.filterwarnings("default")  # of a foreign tool's making
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_request_from_the_document_breaks_the_server(server: Any, method: str, path: str) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import checks

    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operation = document[path][method]
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    statuses: set[int] = set()

    def one(case: Any) -> None:
        answer = case.call(base_url=server.url, timeout=30)
        statuses.add(answer.status_code)
        assert answer.status_code < 500 or (
            answer.status_code == 503 and answer.headers.get("retry-after")
        ), (
            answer.status_code,
            answer.text,
        )
        known = [
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
        if answer.status_code != 405:  # a made-up method is no operation of the document
            case.validate_response(answer, checks=known)

    for mode in modes:
        cases = operation.as_strategy(generation_mode=mode)
        quiet = settings(
            max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        with suppress(Unsatisfiable):  # an operation without parameters has no wrong requests
            quiet(given(cases)(one))()
    assert statuses
