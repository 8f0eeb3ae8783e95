"""One trace for a question, over all that it passes; nothing of it where none is wanted."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from slack_bolt import App

from analytics.command import Context
from bot import spans, trail
from bot.setup import Bot
from bot.slack.analysts import Analyst
from bot.slack.post import Poster
from storage.outbox import Outbox
from tests.slack.conftest import FakeSlack, bot, members, slack
from tests.slack.test_app import Taken, app, command, taken
from tests.slack.test_trail import work_off

__all__ = ["app", "bot", "members", "slack", "taken"]

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def sent() -> Iterator[InMemorySpanExporter]:
    """What a collector would hear."""
    exporter = InMemorySpanExporter()
    spans.send_by(SimpleSpanProcessor(exporter), "all")
    yield exporter
    spans.end()


def test_a_question_is_one_trace_from_its_acceptance_to_its_post(
    bot: Bot, app: App, taken: Taken, slack: FakeSlack, sent: InMemorySpanExporter
) -> None:
    command(app, "kpis for country Carol", response_url="")
    command(app, "schema", "2", response_url="")
    work_off(bot, taken, slack)
    traces: dict[int, dict[str, dict[str, object]]] = {}
    for span in sent.get_finished_spans():
        assert span.context is not None
        told = dict(span.attributes or {})
        traces.setdefault(span.context.trace_id, {})[span.name] = told
        assert "Carol" not in span.to_json()
        assert "U1" not in str(told)
    schema = next(s for s in bot.state.recent_questions() if s.canonical == "schema")
    assert set(traces) == {spans.ids(q.reference)[0] for q in bot.state.recent_questions()}
    told = traces[spans.ids(schema.reference)[0]]
    assert list(told) == ["accept", "run", "post"]
    assert told["accept"] == {"way": "command", "outcome": "accepted"}
    assert told["post"] == {"way": "command", "outcome": "sent"}
    assert {"way": "command", "verb": "schema", "outcome": "answered"}.items() <= told[
        "run"
    ].items()
    assert told["run"]["posts"] == 1
    assert isinstance(told["run"]["queries"], int)


def test_the_queries_behind_an_answer_are_counted(
    bot: Bot, app: App, taken: Taken, slack: FakeSlack, sent: InMemorySpanExporter, shop: Context
) -> None:
    command(app, "kpis 2011-11", response_url="")
    claim = taken.queue.claim(60)
    assert claim is not None
    there = dataclasses.replace(bot, opened=shop.store)
    Analyst(there, taken.queue, Outbox(bot.state), Poster(slack)).work(claim)
    run = dict(sent.get_finished_spans()[1].attributes or {})
    queries = run.pop("queries")
    assert run == {"way": "command", "verb": "kpis", "outcome": "answered", "posts": 1}
    assert isinstance(queries, int)
    assert queries >= 1


def test_who_is_turned_away_has_a_trace(app: App, taken: Taken, sent: InMemorySpanExporter) -> None:
    command(app, "grant people to @U2", "1")
    (span,) = sent.get_finished_spans()
    assert dict(span.attributes or {}) == {"way": "command", "outcome": "refused"}


def test_an_error_passes_and_is_told_by_its_kind(sent: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        trail.following(trail.new()),
        spans.span("run", way="command"),
    ):
        raise ZeroDivisionError("secret")
    (span,) = sent.get_finished_spans()
    assert dict(span.attributes or {}) == {"way": "command", "error.type": "ZeroDivisionError"}
    assert "secret" not in span.to_json()


def test_what_follows_no_question_is_no_span(sent: InMemorySpanExporter) -> None:
    with spans.span("post", way="command"):
        spans.tell(outcome="sent")
    assert sent.get_finished_spans() == ()


def test_the_ids_of_a_trace_are_those_of_the_question() -> None:
    assert spans.ids("3f9a1c27be04") == spans.ids("3f9a1c27be04")
    assert spans.ids("3f9a1c27be04") != spans.ids("3f9a1c27be05")
    trace, root = spans.ids("3f9a1c27be04")
    assert 0 < trace < 2**128
    assert 0 < root < 2**64


def test_what_is_left_is_sent_at_the_end() -> None:
    exporter = InMemorySpanExporter()
    spans.send_by(BatchSpanProcessor(exporter, schedule_delay_millis=60_000), "all")
    with trail.following(trail.new()), spans.span("run"):
        pass
    assert exporter.get_finished_spans() == ()
    spans.end()
    assert [span.name for span in exporter.get_finished_spans()] == ["run"]


def test_a_collector_that_fails_disturbs_nothing(
    bot: Bot, app: App, taken: Taken, slack: FakeSlack
) -> None:
    class Failing(InMemorySpanExporter):
        def export(self, spans: object) -> object:  # type: ignore[override]
            raise ConnectionError

    spans.send_by(BatchSpanProcessor(Failing(), schedule_delay_millis=1), "all")
    command(app, "schema", response_url="")
    assert len(work_off(bot, taken, slack)) == 1
    spans.end()


def test_one_that_is_named_without_the_packages_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    missing = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(spans.NoTracesError, match=r"pip install -r requirements-otel\.txt"):
        spans.begin("edge")
    assert spans.Spans.provider is None


def test_without_one_nothing_of_it_is_imported() -> None:
    done = (
        "import sys; from bot import spans, trail; import bot.slack.serve\n"
        "spans.begin('edge')\n"
        "with trail.following('3f9a1c27be04'), spans.span('run'): spans.tell(posts=1)\n"
        "spans.end(); assert not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", done], check=True, env=kept)
