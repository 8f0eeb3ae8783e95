"""The ways in: slash command, mention, direct message, buttons, the form to share an answer.

Listeners acknowledge at once and put the question in the line; nothing is computed in them. What
Slack delivers twice is taken once.
"""

import html
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from slack_bolt import App, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from analytics.errors import UserError
from bot.setup import Bot
from bot.slack import text as safe
from bot.slack.answering import Job, Way
from bot.slack.blocks import (
    AGAIN,
    ASK,
    CANCEL,
    CSV,
    SHARE,
    SQL,
    JsonObject,
    Message,
    context,
    plain,
    plain_message,
)
from bot.slack.home import QUESTION
from bot.slack.notices import Notices, with_cancel
from bot.slack.post import Poster, error_word
from bot.slack.sendable import VIEW_METADATA, assert_sendable
from storage.queue import Full, Place, Queue
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

#: Bolt writes whole requests into its log, and a response_url lets anyone post: only faults.
bolt_log = logging.getLogger("daybreak.bolt")
bolt_log.setLevel(logging.ERROR)

SHARE_FORM = "share"
LISTENERS = 10
WORKING = "Working on"
#: What Slack makes of names, channels and addresses that people type.
FORMATTED = re.compile(r"<([@#!]|(?=https?:|mailto:))([^|<>]*)(?:\|([^<>]*))?>")


class SlackRefusedError(UserError):
    """Slack does not take our token."""

    code = "slack_refused"


@dataclass(frozen=True)
class Identity:
    """Who we are in Slack."""

    team: str
    bot_id: str
    bot_user: str


def identify(client: WebClient) -> Identity:
    """Ask Slack once who we are. Raises SlackRefusedError with what to do."""
    try:
        me = client.auth_test()
    except SlackApiError as error:
        raise SlackRefusedError(
            f"Slack does not take SLACK_BOT_TOKEN ({error_word(error)}).",
            hint="Copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions of your app at "
            "https://api.slack.com/apps.",
        ) from error
    except (SlackClientError, OSError) as error:
        raise SlackRefusedError(
            "Slack can't be reached.", hint="Check this machine's way to https://slack.com/api/."
        ) from error
    return Identity(str(me["team_id"]), str(me.get("bot_id") or ""), str(me["user_id"]))


def slack_app(
    bot: Bot,
    queue: Queue,
    poster: Poster,
    identity: Identity,
    *,
    wake: Callable[[], None] = lambda: None,
    signing_secret: str = "",
) -> App:
    """The Bolt app; `app.dispatch(request)` is all that a transport needs.

    `wake` is called when a question was taken. The listener threads end with
    `app.listener_runner.listener_executor.shutdown()`.
    """
    me = AuthorizeResult(
        enterprise_id=None,
        team_id=identity.team,
        bot_token=poster.client.token,
        bot_id=identity.bot_id or None,
        bot_user_id=identity.bot_user,
    )
    app = App(
        logger=bolt_log,
        client=poster.client,
        signing_secret=signing_secret,
        authorize=lambda **_: me,
        listener_executor=ThreadPoolExecutor(LISTENERS, thread_name_prefix="listener"),
        # acknowledged means taken: the answer leaves when the listener is done
        process_before_response=True,
        attaching_conversation_kwargs_enabled=False,
    )
    executor = app.listener_runner.listener_executor
    Listeners(bot, queue, Notices(poster, executor), identity, wake).register(app)
    return app


class Listeners:
    """What each way in makes of a payload."""

    def __init__(
        self,
        bot: Bot,
        queue: Queue,
        notices: Notices,
        identity: Identity,
        wake: Callable[[], None],
    ) -> None:
        """`register` binds them to an app; no listener calls Slack before its ack."""
        self.bot = bot
        self.queue = queue
        self.notices = notices
        self.identity = identity
        self.wake = wake

    def register(self, app: App) -> None:
        """All listeners; the manifest must name the same commands and events."""
        app.middleware(self.members_only)
        app.command(self.bot.settings.slack.command)(self.command)
        app.event("app_mention")(self.mention)
        app.event("message")(self.message)
        app.event("app_home_opened")(self.home)
        for pattern, listener in (
            (rf"{ASK}_\d+", self.ask),
            (AGAIN, self.ask),
            (SQL, self.sql),
            (CSV, self.csv),
            (SHARE, self.share),
            (CANCEL, self.cancel),
        ):
            app.action(re.compile(f"^{pattern}$"))(listener)
        app.view(SHARE_FORM)(self.shared)

    def members_only(
        self, body: JsonObject, ack: Callable[..., BoltResponse], next_: Callable[[], None]
    ) -> BoltResponse | None:
        """People of other workspaces, and bots, get nothing."""
        if is_stranger(body, self.identity):
            log.info("stranger_refused", extra={"kind": body.get("type", "command")})
            if "command" in body:
                return ack("I only answer people of the workspace that I was installed in.")
            return ack()
        next_()
        return None

    def command(self, ack: Callable[..., Any], command: JsonObject) -> None:
        """`/ops kpis last 30 days`."""
        job = Job(
            text=said(command.get("text", "")) or "help",
            user=command["user_id"],
            channel=command["channel_id"],
            way="command",
            response_url=command.get("response_url", ""),
        )
        reply = self.accept(job, f"trigger:{command['trigger_id']}")
        if reply is None:
            ack()
            return
        payload: JsonObject = {"response_type": "ephemeral", "text": reply.text}
        if reply.blocks:
            payload["blocks"] = list(reply.blocks)
        assert_sendable(payload)
        ack(**payload)

    def mention(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """`@Daybreak kpis`: answered in the thread of the mention."""
        if event.get("user") and not event.get("bot_id"):
            thread = event.get("thread_ts") or event["ts"]
            self.take_event(event, body, "mention", thread)
        ack()

    def message(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """A direct message; all other messages are none of our business."""
        by_person = event.get("user") and not event.get("subtype") and not event.get("bot_id")
        if event.get("channel_type") == "im" and by_person:
            self.take_event(event, body, "direct", event.get("thread_ts", ""))
        ack()

    def home(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """App Home is opened: it is drawn anew, like an answer."""
        if event.get("tab") == "home":
            job = Job(text=QUESTION, user=event["user"], channel="", way="home")
            self.accept(job, f"event:{body['event_id']}")
        ack()

    def take_event(self, event: JsonObject, body: JsonObject, way: Way, thread: str) -> None:
        """Put an event's question in the line; who has to wait is told."""
        job = Job(
            text=said(event.get("text", ""), self.identity.bot_user) or "help",
            user=event["user"],
            channel=event["channel"],
            way=way,
            thread_ts=thread,
        )
        self.take(job, f"event:{body['event_id']}")

    def ask(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """A follow-up, or the same question again."""
        self.take_click(body, str(action.get("value", "")))
        ack()

    def sql(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """The queries behind an answer, for who asks."""
        self.take_click(body, f"{action.get('value', '')} as sql", private=True)
        ack()

    def csv(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """The tables of an answer as files."""
        self.take_click(body, f"{action.get('value', '')} as csv", files_only=True)
        ack()

    def take_click(
        self, body: JsonObject, text: str, *, private: bool = False, files_only: bool = False
    ) -> None:
        """Put a button's question in the line; the answer goes where the button is."""
        container = body.get("container", {})
        hidden = bool(container.get("is_ephemeral"))
        channel = (body.get("channel") or {}).get("id", "")  # App Home has none
        direct = not channel or channel.startswith("D")
        thread = container.get("thread_ts") or ("" if direct else container.get("message_ts", ""))
        job = Job(
            text=text,
            user=body["user"]["id"],
            channel=channel,
            way="direct" if direct and not hidden else "button",
            thread_ts="" if hidden else thread,
            response_url=body.get("response_url", ""),
            private=private or hidden,
            files_only=files_only,
        )
        key = f"trigger:{body['trigger_id']}"
        if channel:
            self.take(job, key)
        else:
            self.accept(job, key)

    def share(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """Ask in which channel to share."""
        if self.is_new(f"trigger:{body['trigger_id']}"):
            form = share_form(str(action.get("value", "")))
            open_view = self.notices.poster.open_view
            self.notices.aside.submit(open_view, body["trigger_id"], form)
        ack()

    def shared(self, ack: Callable[..., Any], view: JsonObject, body: JsonObject) -> None:
        """Share in the chosen channel."""
        target = view["state"]["values"]["channel"]["channel"]["selected_conversation"]
        if not target:
            ack(response_action="errors", errors={"channel": "Choose a channel."})
            return
        job = Job(
            text=view["private_metadata"], user=body["user"]["id"], channel=target, way="share"
        )
        self.take(job, f"view:{view['id']}:{view.get('hash', '')}")
        ack()

    def is_new(self, key: str) -> bool:
        """Whether Slack delivers this for the first time; not while the memory is away."""
        try:
            return self.bot.state.first_time(key)
        except StateError as error:
            log.exception("state_error", extra={"detail": error.detail})
            return False

    def cancel(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """Drop a question that waits or is worked on; only who asked can."""
        number, person = str(action.get("value", "")), body["user"]["id"]
        dropped = number.isdigit() and self.queue.cancel(int(number), person)
        ack()
        told = "Cancelled." if dropped else "There is nothing left to cancel."
        job = Job("", person, body["channel"]["id"], "button",
                  response_url=body.get("response_url", ""))  # fmt: skip
        self.notices.tell(job, plain_message(told))

    def take(self, job: Job, key: str) -> None:
        """Put a question in the line; who has to wait, or can't be taken, is told."""
        reply = self.accept(job, key)
        if reply and not reply.text.startswith(WORKING):
            self.notices.tell(job, reply)

    def accept(self, job: Job, key: str) -> Message | None:
        """Put a question in the line: what the asker is told, or None for a repeat."""
        try:
            place = self.queue.put(key, job.user, job.to_json())
        except StateError as error:
            log.exception("state_error", extra={"detail": error.detail})
            return plain_message("I can't take questions just now. Please try again in a minute.")
        match place:
            case None:
                return None
            case Full(by_person=True):
                most = self.queue.per_person
                return plain_message(
                    f"You already have {most} questions waiting; ask again when one is answered."
                )
            case Full():
                return plain_message(
                    "I am busy and can't take more questions. Please come back in a minute."
                )
            case Place(0):
                self.wake()
                return Message(f"{WORKING} {safe.code(job.text)} …", ephemeral=True)
            case Place(number, taken):
                told = f"You are number {number} in line with {safe.code(job.text)}."
                return with_cancel(told, taken)


def said(text: str, own_user: str = "") -> str:
    """What a person typed, without Slack's formatting: `&gt;` is `>`, `<#C1|ops>` is `#ops`.

    A mention of ourselves is not part of the question.
    """

    def unformatted(match: re.Match[str]) -> str:
        sign, target, label = match.group(1), match.group(2), match.group(3)
        if sign == "@" and target == own_user:
            return " "
        return f"{sign}{label or target}"

    return html.unescape(FORMATTED.sub(unformatted, text)).strip()


def is_stranger(body: JsonObject, identity: Identity) -> bool:
    """Whether a payload comes from another workspace, or a channel shared with one."""
    event = body.get("event") or {}
    user = body.get("user") or {}
    team = body.get("team") or {}
    teams = {
        body.get("team_id"),
        team.get("id") if isinstance(team, dict) else None,
        user.get("team_id") if isinstance(user, dict) else None,
        *(event.get(key) for key in ("team", "user_team", "source_team")),
    }
    return bool(body.get("is_ext_shared_channel")) or not teams <= {None, "", identity.team}


def share_form(question: str) -> JsonObject:
    """The form that asks in which channel to share."""
    return {
        "type": "modal",
        "callback_id": SHARE_FORM,
        "title": plain("Share the answer"),
        "submit": plain("Share"),
        "close": plain("Cancel"),
        "private_metadata": question[:VIEW_METADATA],
        "blocks": [
            context(question),
            {
                "type": "input",
                "block_id": "channel",
                "label": plain("Channel"),
                "hint": plain("I must be a member of it: /invite me there first."),
                "element": {
                    "type": "conversations_select",
                    "action_id": "channel",
                    "default_to_current_conversation": True,
                    "filter": {
                        "include": ["public", "private"],
                        "exclude_external_shared_channels": True,
                        "exclude_bot_users": True,
                    },
                },
            },
        ],
    }
