"""Spans of requests, streams and jobs: a caller's trace goes on; unless it is wanted nothing is loaded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from undertone.judging.fakes import FakeModel
from undertone.serving.server.app import build
from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.tracing import Tracing, from_environment

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
VARIABLES = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_SDK_DISABLED",
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def spans_of(
    work: Callable[[httpx.AsyncClient], Awaitable[None]], **settings: Any
) -> tuple[Any, dict[str, Any]]:
    """The spans by name that some requests to a server in this process leave."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry: extra 'otel'")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = build(FakeModel(), ServerSettings(decoders=1, **settings), tracing=Tracing(provider))

    async def all_of_it() -> None:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with (
            app.service.running(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            await work(client)

    asyncio.run(all_of_it())
    return exporter, {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_and_its_job_continue_the_callers_trace(tmp_path: Path, clip: bytes) -> None:
    from opentelemetry.trace import SpanKind, StatusCode

    handed: list[str] = []

    async def work(client: httpx.AsyncClient) -> None:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "content-type": "audio/wav"}
        answer = await client.post("/v1/predict", content=clip, headers=headers, params={"text": "a secret"})
        assert answer.status_code == 200
        assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert answer.headers["x-request-id"] == TRACE
        job = (await client.post("/v1/jobs", content=clip, headers=headers)).json()["id"]
        handed.append(job)
        for _ in range(600):
            if (await client.get(f"/v1/jobs/{job}")).json()["status"] == "done":
                break
            await asyncio.sleep(0.05)
        assert (await client.post("/v1/predict", content=b"nonsense", headers=headers)).status_code == 422
        await client.get("/healthz")

    exporter, named = spans_of(work, job_folder=str(tmp_path))
    predicted, refused = [s for s in exporter.get_finished_spans() if s.name == "POST /v1/predict"]
    assert predicted.kind is SpanKind.SERVER
    assert f"{predicted.context.trace_id:032x}" == TRACE
    assert f"{predicted.parent.span_id:016x}" == PARENT
    about = dict(predicted.attributes)
    assert about["http.route"] == "/v1/predict"
    assert about["http.response.status_code"] == 200
    assert about["undertone.model"] == FakeModel().name
    assert about["undertone.audio_seconds"] > 0.5
    assert predicted.end_time > predicted.start_time
    assert refused.attributes["http.response.status_code"] == 422
    assert refused.status.status_code is StatusCode.UNSET  # the client's fault, not the server's
    job, handed_in = named["job"], named["POST /v1/jobs"]
    assert (job.context.trace_id, job.parent.span_id) == (
        handed_in.context.trace_id,
        handed_in.context.span_id,
    )
    assert dict(job.attributes) == {
        "undertone.job": handed[0],
        "undertone.attempt": 1,
        "undertone.model": FakeModel().name,
        "undertone.audio_seconds": about["undertone.audio_seconds"],
        "undertone.status": "done",
    }
    assert "GET /v1/jobs/{name}" in named  # by its route: ids are endless
    assert not any("healthz" in name for name in named)
    assert "a secret" not in " ".join(span.to_json() for span in exporter.get_finished_spans())


def test_a_job_that_fails_and_a_trace_of_its_own(tmp_path: Path) -> None:
    from opentelemetry.trace import StatusCode

    async def work(client: httpx.AsyncClient) -> None:
        sent = {"content": b"nonsense", "headers": {"content-type": "audio/wav", "traceparent": "made-up"}}
        job = (await client.post("/v1/jobs", **sent)).json()["id"]
        for _ in range(600):
            if (await client.get(f"/v1/jobs/{job}")).json()["status"] == "failed":
                break
            await asyncio.sleep(0.05)

    _, named = spans_of(work, job_folder=str(tmp_path))
    assert named["POST /v1/jobs"].parent is None
    assert named["job"].status.status_code is StatusCode.ERROR
    assert named["job"].attributes["undertone.status"] == "failed"


def test_spans_reach_a_collector_that_the_variables_name(
    start_server: Callable[..., Any], clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry: extra 'otel'")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        server = start_server()
        try:
            sent = {"content": clip, "headers": {"content-type": "audio/wav"}}
            assert httpx.post(f"{server.url}/v1/predict", timeout=30, **sent).status_code == 200
        finally:
            server.stop()  # what waits is sent then
            server.process.stderr.close()
            collector.shutdown()
    assert got and {path for path, _ in got} == {"/v1/traces"}
    (sent_spans, *_) = [ExportTraceServiceRequest.FromString(body) for _, body in got]
    resource = sent_spans.resource_spans[0]
    known = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert known["service.name"] == "undertone"
    assert "POST /v1/predict" in [span.name for span in resource.scope_spans[0].spans]


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}],
)
def test_unless_it_is_wanted_neither_sdk_nor_exporter_is_imported(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI itself imports OpenTelemetry's interface, which does nothing without them."""
    code = (
        "import json, sys; from undertone.judging.fakes import FakeModel;"
        "from undertone.serving.server.app import build;"
        "from undertone.serving.server.settings import ServerSettings;"
        "build(FakeModel(), ServerSettings());"
        "print(json.dumps([name for name in sys.modules"
        " if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]))"
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []


def test_without_the_extra_there_is_a_warning_and_the_server_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert from_environment()._tracer is None
    assert "OTEL_* ask for traces" in caplog.text
    monkeypatch.undo()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry: extra 'otel'")
    assert from_environment()._tracer is None
    assert "zipkin" in caplog.text
