"""OpenTelemetry spans of requests, streams and jobs, where the standard ``OTEL_*`` variables ask for them.

OpenTelemetry is imported only if ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``) names a
collector or ``OTEL_TRACES_EXPORTER`` an exporter. The SDK reads the others itself (sampler, batches, headers,
``OTEL_SERVICE_NAME`` …). A caller's ``traceparent`` is continued; a job belongs to the trace of the
request that handed it in. Spans hold no transcript, no file name and no token.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undertone import __version__
from undertone.errors import install_line

if TYPE_CHECKING:
    from undertone.serving.server.logs import Record

__all__ = ["Tracing", "from_environment"]

log = logging.getLogger(__name__)

UNTRACED = frozenset({"/healthz", "/readyz"})
"""Probes come every few seconds."""
FAULT = 500
"""Answers from this status on are the server's fault, and mark a span as failed."""
BROKEN = frozenset({1002, 1003, 1006, 1011})
"""Codes by which a stream ends that failed."""


class Tracing:
    """Spans through one provider; without one, nothing."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("undertone", __version__)

    def begin(self, record: Record) -> None:
        """Open the span of a request or stream."""
        if self._tracer is None or record.path in UNTRACED:
            return
        from opentelemetry.trace import SpanKind

        kept = {"http.request.method": record.method, "undertone.request": record.id}
        record.span = self._tracer.start_span(
            record.method, _context(record.trace), kind=SpanKind.SERVER, attributes=kept
        )
        record.trace = _traceparent(record.span)

    def end(self, record: Record, scope: Mapping[str, Any]) -> None:
        """Close it: its route, its status, what was judged."""
        if record.span is None:
            return
        from opentelemetry.trace import StatusCode

        span, status = record.span, record.status
        route = getattr(scope.get("route"), "path", None)
        if route is not None:
            span.set_attribute("http.route", route)
            span.update_name(f"{record.method} {route}")
        if status is not None:
            stream = scope["type"] == "websocket"
            span.set_attribute("undertone.close_code" if stream else "http.response.status_code", status)
            if status in BROKEN if stream else status >= FAULT:
                span.set_status(StatusCode.ERROR)
        known = {"model": record.model, "caller": record.caller, "audio_seconds": round(record.audio, 3)}
        known |= {"clips": record.clips, "bytes": record.received}
        span.set_attributes({f"undertone.{name}": value for name, value in known.items() if value})
        span.end()

    @contextmanager
    def job(self, trace: str | None, **known: Any) -> Iterator[dict[str, Any]]:
        """The span of one attempt at a job; what the block puts into its value becomes attributes, ``error``
        the reason of a failure."""
        noted: dict[str, Any] = dict(known)
        if self._tracer is None:
            yield noted
            return
        from opentelemetry.trace import SpanKind, StatusCode

        span = self._tracer.start_span("job", _context(trace), kind=SpanKind.CONSUMER)
        try:
            yield noted
        finally:
            if noted.get("error"):
                span.set_status(StatusCode.ERROR)
            kept = {name: value for name, value in noted.items() if name != "error" and value is not None}
            span.set_attributes({f"undertone.{name}": value for name, value in kept.items()})
            span.end()

    async def stop(self) -> None:
        """Send what is still to be sent."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)


def from_environment() -> Tracing:
    """As the ``OTEL_*`` variables want it; without the extra ``otel``, a warning and no spans."""
    given = os.environ.get
    exporter = given("OTEL_TRACES_EXPORTER", "").strip().lower()
    place = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or given("OTEL_EXPORTER_OTLP_ENDPOINT")
    if given("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return Tracing()
    if not (exporter or place):
        return Tracing()
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        made = _exporter(exporter or "otlp")
    except ImportError:
        log.warning("OTEL_* ask for traces: %s", install_line("otel"))
        return Tracing()
    if made is None:
        log.warning("OTEL_TRACES_EXPORTER=%s: no traces; otlp, console and none are known", exporter)
        return Tracing()
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "undertone"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(made))
    return Tracing(provider)


def _exporter(name: str) -> Any:
    if name == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if name != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s: http/protobuf is sent", protocol)
    return OTLPSpanExporter()


def _context(trace: str | None) -> Any:
    """Of a caller's ``traceparent``; without one, an empty one: a trace of its own."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried = {} if trace is None else {"traceparent": trace}
    return TraceContextTextMapPropagator().extract(carried, Context())


def _traceparent(span: Any) -> str:
    known = span.get_span_context()
    return f"00-{known.trace_id:032x}-{known.span_id:016x}-{int(known.trace_flags):02x}"
