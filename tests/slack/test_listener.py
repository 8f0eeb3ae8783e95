"""What whoever looks after the bot is told, over a real socket."""

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.dispatch import Asked
from bot.setup import Bot
from bot.slack.listener import TICKED_WITHIN_S, Listener, Readiness
from bot.slack.metrics import Figures
from bot.slack.serve import PortTakenError, edge_service
from storage import processes
from storage.outbox import Outbox
from storage.queue import Full, Queue
from storage.state import State, StateError
from storage.tallies import counted
from tests.slack.conftest import FakeSlack


class Edge:
    """What the edge says of itself."""

    is_connected = True
    since_tick = 0.0
    is_stopping = False


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def listener(bot: Bot, edge: Edge) -> Iterator[Listener]:
    ready = Readiness(
        bot, lambda: edge.is_connected, lambda: edge.since_tick, lambda: edge.is_stopping
    )
    listening = Listener(bot, ready, "127.0.0.1", 0)
    listening.start()
    yield listening
    listening.stop()


def look(listener: Listener, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    asked = Request(f"http://127.0.0.1:{listener.port}{path}", headers=headers)
    try:
        with urlopen(asked, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def figures(listener: Listener) -> dict[str, float]:
    """Samples by name and labels, as a scrape reads them."""
    status, _, body = look(listener, "/metrics")
    assert status == 200
    return {
        sample.name + "".join(f" {v}" for _, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_a_process_that_answers_lives(listener: Listener) -> None:
    assert look(listener, "/healthz") == (200, "text/plain", "ok\n")
    assert look(listener, "/secrets")[0] == 404


def test_it_is_ready_once_an_analyst_lives(bot: Bot, listener: Listener) -> None:
    status, kind, body = look(listener, "/readyz")
    assert (status, kind) == (503, "application/json")
    said = {"ready": False, "reasons": {"analyst": "none was heard of for 12 s"}}
    assert json.loads(body) == said
    processes.beat(bot.state, "analyst@here:1", "analyst", {})
    status, _, body = look(listener, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": {}})


def test_each_fault_of_the_edge_is_named(bot: Bot, edge: Edge, listener: Listener) -> None:
    processes.beat(bot.state, "analyst@here:1", "analyst", {})
    edge.is_connected, edge.is_stopping, edge.since_tick = False, True, TICKED_WITHIN_S + 1
    status, _, body = look(listener, "/readyz")
    assert status == 503
    assert json.loads(body)["reasons"] == {
        "stopping": "it takes no more questions",
        "slack": "the connection is down",
        "clock": "it last looked 31 s ago",
    }


def test_a_memory_that_is_away_is_said(
    bot: Bot, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: State) -> None:
        raise StateError("The bot's memory can't be reached.", detail="no route")

    monkeypatch.setattr(State, "transaction", away)
    status, _, body = look(listener, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (
        503,
        {"state": "The bot's memory can't be reached."},
    )
    found = figures(listener)
    assert found["daybreak_state_up"] == 0
    assert "daybreak_ack_seconds_count" in found
    assert look(listener, "/healthz")[0] == 200


def test_what_happened_is_counted(bot: Bot, listener: Listener) -> None:
    queue = Queue(bot.state, workers=1, waiting=1, per_person=1)
    queue.put("a", "U1", "{}")
    assert queue.put("b", "U1", "{}") == Full(by_person=True)
    queue.put("c", "U2", "{}")
    assert queue.put("d", "U3", "{}") == Full(by_person=False)
    assert queue.put("d", "U3", "{}") is None
    claim = queue.claim(60)
    assert claim is not None
    for seconds in (0.05, 0.3, 400.0):
        bot.audit(Asked("kpis", "kpis last 7 days", "U1", "answered", seconds))
    bot.audit(Asked("kpsi", "", "U1", "not_understood", 0.01))
    outbox = Outbox(bot.state)
    for key in ("p", "q", "r"):
        outbox.add(key=key, lane=key, body="{}")
    sent, failed, unknown = (outbox.claim(60) for _ in range(3))
    assert sent and failed and unknown  # noqa: PT018 - three alike
    outbox.sent(sent, ts="1.1")
    assert not outbox.sent(sent, ts="1.1")
    outbox.failed(failed, "is_archived")
    outbox.look_later(unknown, wait_seconds=60)
    found = figures(listener)
    assert found["daybreak_accepted_total"] == 2
    assert found["daybreak_busy_total person"] == found["daybreak_busy_total line"] == 1
    assert found["daybreak_questions waiting"] == found["daybreak_questions running"] == 1
    assert found["daybreak_wait_seconds_count"] == 1
    assert found["daybreak_begun_again_total"] == 0
    of_kpis = {
        bound: found[f"daybreak_question_seconds_bucket {bound} answered kpis"]
        for bound in ("0.05", "0.25", "0.5", "300.0", "+Inf")
    }
    assert of_kpis == {"0.05": 1, "0.25": 1, "0.5": 2, "300.0": 2, "+Inf": 3}
    assert found["daybreak_question_seconds_sum answered kpis"] == pytest.approx(400.35)
    assert found["daybreak_question_seconds_count not_understood unknown"] == 1
    for outcome in ("sent", "failed", "unknown"):
        assert found[f"daybreak_posts_total {outcome}"] == 1
    assert found["daybreak_post_seconds_count"] == 1
    assert found["daybreak_outbox unknown"] == found["daybreak_outbox failed"] == 1
    assert found["daybreak_outbox due"] == found["daybreak_outbox sending"] == 0
    assert found["daybreak_state_up"] == 1


def test_a_job_whose_holder_was_lost_is_counted(bot: Bot) -> None:
    queue = Queue(bot.state, workers=1, waiting=1, per_person=1)
    queue.put("a", "U1", "{}")
    assert queue.claim(-1) is not None
    again = queue.claim(60)
    assert again is not None
    queue.give_back(again)  # on purpose: its next claim is no loss
    names = [tally.name for tally in counted(bot.state) for _ in range(tally.number)]
    assert names.count("begun_again") == 1
    assert names.count("wait") == 1


def test_what_is_undone_was_not_counted(bot: Bot) -> None:
    asked = Asked("kpis", "kpis", "U1", "answered", 0.1)

    def fail() -> None:
        with bot.state.transaction() as connection:
            bot.audit(asked, connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counted(bot.state) == []


def test_no_label_tells_of_a_person_a_place_or_a_text(bot: Bot, listener: Listener) -> None:
    queue = Queue(bot.state, workers=1, waiting=1, per_person=1)
    queue.put("a", "U0SECRET", '{"text": "for Carol"}')
    bot.audit(Asked("for Carol", "Carol's", "U0SECRET", "answered", 0.1, channel="C0SECRET"))
    Outbox(bot.state).add(key="k0secret", lane="C0SECRET", body="{}")
    _, _, body = look(listener, "/metrics")
    assert not re.search("secret|carol", body, re.IGNORECASE)
    assert 'verb="unknown"' in body


def test_the_age_of_the_data_is_as_an_analyst_knew_it(
    bot: Bot, edge: Edge, listener: Listener
) -> None:
    assert "daybreak_data_age_seconds" not in figures(listener)
    through = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(hours=2)
    facts = {"data_through": through.isoformat(), "worker_ends": 3}
    processes.beat(bot.state, "analyst@here:1", "analyst", facts)
    without_store = Figures(dataclasses.replace(bot, opened=None))
    found = {metric.name: metric.samples for metric in without_store.collect()}
    assert 7200 <= found["daybreak_data_age_seconds"][0].value < 7260
    assert found["daybreak_worker_ends"][0].value == 3
    of_roles = {s.labels["role"]: s.value for s in found["daybreak_processes"]}
    assert of_roles == {"edge": 0, "analyst": 1}


def test_a_scraper_may_ask_for_openmetrics(listener: Listener) -> None:
    kind = look(listener, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[1]
    assert kind.startswith("application/openmetrics-text")


@pytest.mark.parametrize("taken", [True, False])
def test_the_edge_listens_where_the_settings_say(
    bot: Bot, listener: Listener, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """A port that is taken is said before Slack is reached."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "secret")
    monkeypatch.setattr("bot.slack.serve.web_client", lambda *_: slack)
    port = listener.port if taken else 0
    told = bot.settings.operate.model_copy(update={"port": port})
    service = edge_service(bot.settings.model_copy(update={"operate": told}), lambda: None)
    assert (service.listener is not None) == taken
    if taken:
        with pytest.raises(PortTakenError, match=str(port)) as caught:
            service.start()
        assert "operate.port" in caught.value.hint
    service.app.listener_runner.listener_executor.shutdown()
    service.bot.close()
