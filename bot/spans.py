"""Spans of OpenTelemetry: one trace for a question, over all processes that it passes.

On where the environment names a collector (OTEL_EXPORTER_OTLP_ENDPOINT); all else is told by the
standard variables too. Its trace has the id that is hashed from the question's (`bot.trail`), so
no process hands anything to another. Attributes are kinds of things and numbers, never people,
channels or texts.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from analytics.errors import UserError
from bot import VERSION, trail

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
#: Spans leave so soon: a worker may be killed at any time.
LEAVE_WITHIN_MS = 200
#: A collector that does not answer keeps no process from its end for longer.
END_WITHIN_S = 1.0

Value = str | int | float | bool

_told: ContextVar[Any] = ContextVar("told", default=None)


class NoTracesError(UserError):
    """A collector is named, but the packages that speak to it are missing."""

    code = "bad_config"


class Spans:
    """Where this process's spans go."""

    provider: Any = None


def check() -> None:
    """Whether spans can be sent, where they are wanted; starts nothing. Raises NoTracesError."""
    if not os.environ.get(ENDPOINT):
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401 - that it is there
    except ImportError as error:
        raise NoTracesError(
            f"{ENDPOINT} is set, but OpenTelemetry is not installed.",
            hint="Run pip install -r requirements-otel.txt, or unset it.",
        ) from error


def begin(role: str) -> None:
    """Send this process's spans, from now on. Raises NoTracesError."""
    check()
    if not os.environ.get(ENDPOINT):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    soon = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else LEAVE_WITHIN_MS
    try:
        processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=soon)
    except ValueError as error:
        raise NoTracesError("A variable of OpenTelemetry's (OTEL_…) is wrong.") from error
    send_by(processor, role)


def send_by(processor: Any, role: str) -> None:
    """Hand the spans of this process to an OpenTelemetry span processor."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = {"service.name": "daybreak"} if "OTEL_SERVICE_NAME" not in os.environ else {}
    own = {"service.version": VERSION, "daybreak.role": role, "process.pid": os.getpid()}
    provider = TracerProvider(resource=Resource.create(named | own), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    Spans.provider = provider


def end() -> None:
    """Send what is left, as far as the collector takes it; afterwards spans are off."""
    provider, Spans.provider = Spans.provider, None
    if provider is not None:
        leaving = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
        leaving.start()
        leaving.join(END_WITHIN_S)


@contextlib.contextmanager
def span(name: str, **attributes: Value) -> Iterator[None]:
    """One step of the question that this thread follows; errors pass, and are told by kind."""
    if Spans.provider is None or not trail.current():
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    inner = Spans.provider.get_tracer("daybreak", VERSION).start_span(
        name, context=parent(trail.current()), attributes=attributes
    )
    before = _told.set(inner)
    try:
        yield
    except BaseException as error:
        inner.set_attribute("error.type", type(error).__name__)
        inner.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        _told.reset(before)
        inner.end()


def tell(**attributes: Value) -> None:
    """What the step of this thread has come to; nothing where there is none."""
    inner = _told.get()
    if inner is not None:
        inner.set_attributes(attributes)


def parent(reference: str) -> Any:
    """The context under which all spans of a question stand, wherever they are made."""
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    trace, root = ids(reference)
    context = SpanContext(trace, root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(context))


def ids(reference: str) -> tuple[int, int]:
    """The 128 bits of a question's trace, and the 64 of the span that its spans share."""
    digest = hashlib.sha256(reference.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
