"""Forms, shortcuts, direct messages as an agent, App Home: over real sockets, both transports."""

import dataclasses
import json
from typing import Any

import pytest

from analytics.command import Context
from bot.dispatch import answer
from bot.render.sheet import sheets
from bot.slack.agent import MOST_PROMPTS, PROMPTS
from bot.terminal import csv_text
from tests.e2e.driver import Ack, Driver, JsonObject, Workspace, button
from tests.slack.forms import sent_in

pytestmark = pytest.mark.e2e

KPIS = "kpis last 30 days"
WAIT = 60.0


def form(workspace: Workspace, n: int = 1, method: str = "views.open") -> JsonObject:
    """The n-th form that Slack was given, with the name that Slack gave it."""
    calls = workspace.proxy.wait_for(
        lambda: found if len(found := workspace.proxy.calls_of(method)) >= n else [], WAIT
    )
    assert calls[n - 1].answer["ok"] is True
    shown = calls[n - 1].answer["view"]
    view: JsonObject = calls[n - 1].arguments["view"]
    return view | {"id": shown["id"], "hash": shown.get("hash", "")}


def send(driver: Driver, view: JsonObject, changes: dict[str, str | None] | None = None) -> Ack:
    """Send a form in, with what was changed in it."""
    return driver.submit(view, sent_in(view, changes)["state"]["values"])


def understood(message: JsonObject) -> str:
    """The question that an answer answers."""
    return str(message["blocks"][1]["elements"][0]["text"]).removeprefix("Understood: ")


def answers(messages: list[JsonObject]) -> list[str]:
    """The questions of those that are answers."""
    return [understood(m) for m in messages if len(m.get("blocks") or ()) > 2]


def wait_for_answers(
    workspace: Workspace, ts: str, wanted: list[str], channel: str = ""
) -> list[JsonObject]:
    """The replies under a message once they answer these questions, in this order."""

    def there() -> bool:
        return answers(workspace.replies(ts, channel)) == wanted

    workspace.proxy.wait_for(there, WAIT)
    return workspace.replies(ts, channel)


@pytest.fixture
def direct(workspace: Workspace) -> str:
    """Maria's direct messages with the bot."""
    return str(workspace.slack.conversations_open(users=[workspace.user])["channel"]["id"])


def asked(workspace: Workspace, driver: Driver) -> JsonObject:
    """The answer to a first question in the channel."""
    driver.command(KPIS)
    return workspace.wait_for_message("Simulated", WAIT)


def test_a_form_tells_what_is_wrong_at_its_field_and_then_asks(
    workspace: Workspace, driver: Driver
) -> None:
    message = asked(workspace, driver)
    ack = driver.click(message, button(message, "change"))
    assert ack.status == 200
    assert ack.seconds < 1
    view = form(workspace)
    wrong = send(driver, view, {"kpis/where": "contry:France", "kpis/period/own": "some day"})
    assert wrong.body["response_action"] == "errors"
    assert set(wrong.body["errors"]) == {"kpis/where", "kpis/period/own"}
    right = send(driver, view, {"kpis/where": "country:France", "kpis/by": "category"})
    assert right.status == 200
    assert not right.body
    assert right.seconds < 1
    wait_for_answers(workspace, message["ts"], [f"{KPIS} where country:France by category"])


def test_the_shortcut_goes_from_the_choice_to_an_answer_in_a_direct_message(
    workspace: Workspace, driver: Driver, direct: str
) -> None:
    assert driver.shortcut("ask").status == 200
    choice = form(workspace)
    assert driver.pick(sent_in(choice), "pick", "top").status == 200
    view = form(workspace, method="views.update")
    assert view["id"] == choice["id"]
    assert send(driver, view, {"top/what": "categories"}).status == 200
    workspace.proxy.wait_for(lambda: answers(workspace.history(direct)), WAIT)
    assert answers(workspace.history(direct)) == ["top categories last 30 days"]


def test_a_form_answers_in_another_channel(workspace: Workspace, driver: Driver) -> None:
    channels = workspace.slack.conversations_list()["channels"]
    target = next(c["id"] for c in channels if c["name"] == "kpi-digest")
    driver.shortcut("ask")
    driver.pick(sent_in(form(workspace)), "pick", "kpis")
    assert send(driver, form(workspace, method="views.update"), {"place": target}).status == 200
    workspace.proxy.wait_for(lambda: answers(workspace.history(target)), WAIT)
    assert answers(workspace.history(target)) == [KPIS]


def test_a_message_is_asked_about(workspace: Workspace, driver: Driver) -> None:
    message = asked(workspace, driver)
    assert driver.shortcut("ask_about", message).status == 200
    assert send(driver, form(workspace, 1), {"kpis/by": "device"}).status == 200
    wait_for_answers(workspace, message["ts"], [f"{KPIS} by device"])
    plain = workspace.slack.chat_postMessage(channel=workspace.channel, text="top categories")
    theirs = {"ts": plain["ts"], "user": "U0TOM", "text": "top categories"}
    assert driver.shortcut("ask_about", theirs).status == 200
    view = form(workspace, 2)
    assert json.loads(view["private_metadata"])["verb"] == "top"
    assert send(driver, view).status == 200
    wait_for_answers(workspace, plain["ts"], ["top categories last 30 days"])


def test_help_has_the_form(workspace: Workspace, driver: Driver) -> None:
    ack = driver.command("ask")
    assert ack.text == "Working on `help` …"
    told = workspace.sink.wait_for(lambda r: len(r.body.get("blocks") or ()) > 2, WAIT)
    shown = {"ts": "1.1", "text": "", "blocks": told.body["blocks"]}
    driver.click(shown, button(shown, "change"))
    assert "submit" not in form(workspace)


def test_direct_messages_are_threads_with_a_title_a_status_and_context(
    workspace: Workspace, driver: Driver, direct: str
) -> None:
    first = workspace.slack.chat_postMessage(channel=direct, text=KPIS)["ts"]
    assert driver.direct_message(KPIS, direct, ts=first).status == 200
    wait_for_answers(workspace, first, [KPIS], direct)
    (title,) = workspace.proxy.calls_of("assistant.threads.setTitle")
    assert (title.arguments["thread_ts"], title.arguments["title"]) == (first, KPIS)
    (status,) = workspace.proxy.calls_of("assistant.threads.setStatus")
    assert status.arguments["status"] == f"is working on {KPIS} …"
    driver.direct_message("by device", direct, thread_ts=first)
    wait_for_answers(workspace, first, [KPIS, f"{KPIS} by device"], direct)
    second = workspace.slack.chat_postMessage(channel=direct, text="by country")["ts"]
    driver.direct_message("by country", direct, ts=second)
    wait_for_answers(workspace, second, [f"{KPIS} by country"], direct)


def test_opening_direct_messages_shows_what_the_data_can_answer(
    workspace: Workspace, driver: Driver, direct: str
) -> None:
    assert driver.open_home("messages", direct).status == 200
    call = workspace.proxy.wait_for(
        lambda: workspace.proxy.calls_of("assistant.threads.setSuggestedPrompts"), WAIT
    )[0]
    assert call.arguments["channel_id"] == direct
    assert "thread_ts" not in call.arguments
    wanted = [p.question for p in PROMPTS[:MOST_PROMPTS]]
    assert [p["message"] for p in call.arguments["prompts"]] == wanted
    assert workspace.history(direct) == []


def test_a_colleague_goes_on_in_the_thread(workspace: Workspace, driver: Driver) -> None:
    message = asked(workspace, driver)
    tom = next(u["id"] for u in workspace.slack.users_list()["members"] if u["name"] == "tom")
    theirs = dataclasses.replace(workspace, user=tom)
    colleague = Driver(driver.way_in, theirs.slack, theirs.sink, user=tom, channel=theirs.channel)
    mention = {"type": "app_mention", "user": tom, "channel": workspace.channel,
               "text": "<@U00000DAY> by device", "ts": "9.9",
               "thread_ts": message["ts"]}  # fmt: skip
    assert colleague.event(mention).status == 200
    replies = wait_for_answers(workspace, message["ts"], [f"{KPIS} by device"])
    colleague.click(replies[-1], button(replies[-1], "again"), container={
        "type": "message", "message_ts": replies[-1]["ts"], "channel_id": workspace.channel,
        "thread_ts": message["ts"], "is_ephemeral": False})  # fmt: skip
    wait_for_answers(workspace, message["ts"], [f"{KPIS} by device"] * 2)


def test_home_asks_schedules_and_opens_the_form(
    workspace: Workspace, driver: Driver, direct: str
) -> None:
    asked(workspace, driver)
    driver.open_home()
    view = workspace.proxy.wait_for(lambda: workspace.proxy.calls_of("views.publish"), WAIT)[0]
    assert view.answer["ok"] is True
    blocks = view.arguments["view"]["blocks"]
    headers = [b["text"]["text"] for b in blocks if b["type"] == "header"]
    assert headers[-3:] == ["Your schedules", "You asked lately", "Ask me"]
    home = {"ts": "1.1", "blocks": blocks}
    here: dict[str, Any] = {"channel": None, "container": {"type": "view", "view_id": "V1"}}
    again = next(e for b in blocks for e in b.get("elements", []) if e.get("value") == KPIS)
    clicked = {"type": "button", "action_id": again["action_id"], "value": KPIS}
    assert driver.click(home, clicked, **here).status == 200
    workspace.proxy.wait_for(lambda: answers(workspace.history(direct)), WAIT)
    assert answers(workspace.history(direct)) == [KPIS]
    assert driver.click(home, button(home, "change"), **here).status == 200
    assert form(workspace)["title"]["text"] == "Ask Daybreak"


def test_the_files_of_slack_are_those_of_the_terminal(
    workspace: Workspace, driver: Driver, shop: Context
) -> None:
    question = f"{KPIS} by country"
    driver.command(question)
    message = workspace.wait_for_message("Simulated", WAIT)
    driver.click(message, button(message, "csv"))
    posted = workspace.proxy.wait_for(
        lambda: [m for m in workspace.replies(message["ts"]) if m.get("files")], WAIT
    )[0]
    sent = [workspace.file_bytes({"files": [file]}) for file in posted["files"]]
    result = answer(question, shop).result
    assert sent == [sheet.content for sheet in sheets(result)]
    assert "\r\n".join(content.decode("utf-8-sig") for content in sent) == csv_text(result)
