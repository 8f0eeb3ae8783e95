"""The ways in: slash command, mention, direct message, shortcuts, buttons, forms.

Listeners acknowledge at once and put the question in the line; nothing is computed in them. What
Slack delivers twice is taken once.
"""

import dataclasses
import datetime as dt
import html
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from analytics.command import COMMANDS
from analytics.errors import CancelledError, UserError
from bot import spans, trail
from bot.access import RefusedError
from bot.ids import is_direct, split
from bot.setup import Bot
from bot.slack import agent
from bot.slack import text as safe
from bot.slack.answering import Job, Way
from bot.slack.blocks import (
    AGAIN,
    ASK,
    CANCEL,
    CHANGE,
    CSV,
    HELP,
    SHARE,
    SQL,
    JsonObject,
    Message,
    button,
    context,
    error_message,
    mrkdwn,
    plain,
    plain_message,
)
from bot.slack.home import QUESTION
from bot.slack.metrics import ACKS
from bot.slack.modals import (
    FORM,
    PICK,
    FieldsError,
    Filled,
    Origin,
    filled_in,
    form_for,
    modal_of,
    moved_to,
    question_of,
)
from bot.slack.notices import Notices, with_cancel
from bot.slack.oauth import Workspaces, qualify, team_of
from bot.slack.post import EVENT, Poster, error_word
from bot.slack.sendable import VIEW_METADATA, assert_sendable
from storage.queue import Dropped, Full, Place, Queue
from storage.state import StateError

log = logging.getLogger("daybreak.slack")

#: Bolt writes whole requests into its log, and a response_url lets anyone post: only faults.
bolt_log = logging.getLogger("daybreak.bolt")
bolt_log.setLevel(logging.ERROR)

#: What a span tells of the line's word.
ACCEPTANCE = {type(None): "repeat", Full: "busy", Place: "accepted"}

SHARE_FORM = "share"
#: The callback_ids of the shortcuts: anywhere, and on a message.
ASK_ANYWHERE, ASK_ABOUT = "ask", "ask_about"
#: `/ops ask` is `/ops help`, whose answer has a button to the form.
FORM_WORDS = ("", "ask", HELP)
LISTENERS = 10
WORKING = "Working on"
#: What Slack makes of names, channels and addresses that people type.
FORMATTED = re.compile(r"<([@#!]|(?=https?:|mailto:))([^|<>]*)(?:\|([^<>]*))?>")
#: People, channels and user groups, which keep their ids: names change, and are not unique.
LASTING = re.compile(r"@[UW][A-Z0-9]{2,30}|#[CG][A-Z0-9]{2,30}|!subteam\^S[A-Z0-9]{2,30}")


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


class TimedApp(App):
    """Bolt's app, which tells how long Slack waited for its acknowledgement."""

    def dispatch(self, req: BoltRequest) -> BoltResponse:
        """One request, over either transport."""
        since = time.monotonic()
        try:
            return super().dispatch(req)
        finally:
            ACKS.observe(time.monotonic() - since)


def slack_app(
    bot: Bot,
    queue: Queue,
    poster: Poster,
    identity: Identity,
    *,
    wake: Callable[[], None] = lambda: None,
    signing_secret: str = "",
    workspaces: Workspaces | None = None,
) -> App:
    """The Bolt app; `app.dispatch(request)` is all that a transport needs.

    `wake` is called when a question was taken. With `workspaces` there are several, and `identity`
    is nobody's. The listener threads end with `app.listener_runner.listener_executor.shutdown()`.
    """

    def authorize(team_id: str | None = None, **_: Any) -> AuthorizeResult:
        # who is not installed is turned away by the listeners, without a call
        me = identity_in(team_id or "", identity, workspaces) or Identity(team_id or "", "", "")
        return AuthorizeResult(
            enterprise_id=None,
            team_id=me.team,
            bot_token=poster.client.token,
            bot_id=me.bot_id or None,
            bot_user_id=me.bot_user,
        )

    app = TimedApp(
        logger=bolt_log,
        client=poster.client,
        signing_secret=signing_secret,
        authorize=authorize,
        listener_executor=ThreadPoolExecutor(LISTENERS, thread_name_prefix="listener"),
        # acknowledged means taken: the answer leaves when the listener is done
        process_before_response=True,
        attaching_conversation_kwargs_enabled=False,
    )
    executor = app.listener_runner.listener_executor
    notices = Notices(poster, executor)
    Listeners(bot, queue, notices, identity, wake, workspaces).register(app)
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
        workspaces: Workspaces | None = None,
    ) -> None:
        """`register` binds them to an app; no listener calls Slack before its ack."""
        self.bot = bot
        self.queue = queue
        self.notices = notices
        self.identity = identity
        self.wake = wake
        self.workspaces = workspaces

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
            (CHANGE, self.change),
            (SQL, self.sql),
            (CSV, self.csv),
            (SHARE, self.share),
            (CANCEL, self.cancel),
            (PICK, self.pick),
        ):
            app.action(re.compile(f"^{pattern}$"))(listener)
        app.view(SHARE_FORM)(self.shared)
        app.view(FORM)(self.formed)
        app.shortcut(ASK_ANYWHERE)(self.ask_anywhere)
        app.shortcut(ASK_ABOUT)(self.ask_about)
        if self.workspaces is not None:
            app.event("app_uninstalled")(self.uninstalled)
            app.event("tokens_revoked")(self.uninstalled)

    def members_only(
        self, body: JsonObject, ack: Callable[..., BoltResponse], next_: Callable[[], None]
    ) -> BoltResponse | None:
        """People of other workspaces, and bots, get nothing."""
        identity = identity_in(team_of(body), self.identity, self.workspaces)
        if identity is None or is_stranger(body, identity):
            log.info("stranger_refused", extra={"kind": body.get("type", "command")})
            if "command" in body:
                return ack("I only answer people of the workspace that I was installed in.")
            return ack()
        if self.workspaces is not None:
            qualify(body, identity.team)
        next_()
        return None

    def us(self, person: str) -> Identity:
        """Who we are in the workspace of a person."""
        return identity_in(split(person)[0], self.identity, self.workspaces) or self.identity

    def uninstalled(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """The app, or its token, is gone from a workspace."""
        if self.workspaces and (
            event["type"] == "app_uninstalled" or (event.get("tokens") or {}).get("bot")
        ):
            self.workspaces.forget(team_of(body))
        ack()

    def command(self, ack: Callable[..., Any], command: JsonObject) -> None:
        """`/ops kpis last 30 days`."""
        text = said(command.get("text", ""))
        job = Job(
            text=HELP if text.casefold() in FORM_WORDS else text,
            user=command["user_id"],
            channel=command["channel_id"],
            way="command",
            response_url=command.get("response_url", ""),
        )
        reply = self.accept(job, f"trigger:{command['trigger_id']}")
        if reply is None:
            ack()
            return
        if job.text == HELP and reply.text.startswith(WORKING):
            reply = with_form(reply.text)
        payload: JsonObject = {"response_type": "ephemeral", "text": reply.text}
        if reply.blocks:
            payload["blocks"] = list(reply.blocks)
        assert_sendable(payload)
        ack(**payload)

    def mention(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """`@Daybreak kpis`: answered in the thread of the mention."""
        if event.get("user") and not event.get("bot_id"):
            self.take_event(event, body, "mention")
        ack()

    def message(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """A direct message, answered in its thread; other messages are none of our business."""
        by_person = event.get("user") and not event.get("subtype") and not event.get("bot_id")
        if event.get("channel_type") == "im" and by_person:
            self.take_event(event, body, "direct")
        ack()

    def home(self, ack: Callable[..., Any], event: JsonObject, body: JsonObject) -> None:
        """App Home is opened: it is drawn anew, like an answer; prompts among direct messages."""
        match event.get("tab"):
            case "home":
                job = Job(text=QUESTION, user=event["user"], channel="", way="home")
            case "messages":
                job = Job(agent.QUESTION, event["user"], event["channel"], "prompts")
            case _:
                ack()
                return
        self.accept(job, f"event:{body['event_id']}")
        ack()

    def take_event(self, event: JsonObject, body: JsonObject, way: Way) -> None:
        """Put an event's question in the line, to be answered in its thread."""
        job = Job(
            text=said(event.get("text", ""), self.us(event["user"]).bot_user) or "help",
            user=event["user"],
            channel=event["channel"],
            way=way,
            thread_ts=event.get("thread_ts") or event["ts"],
        )
        is_new = self.take(job, f"event:{body['event_id']}")
        if is_new and way == "direct" and "thread_ts" not in event:
            title = agent.title_of(job.text)
            self.notices.aside.submit(
                self.notices.poster.set_title, job.channel, job.thread_ts, title
            )

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
        clicked = clicked_at(body)
        direct = not clicked.channel or is_direct(clicked.channel)
        job = Job(
            text=text,
            user=body["user"]["id"],
            channel=clicked.channel,
            way="direct" if direct and not clicked.hidden else "button",
            thread_ts=clicked.thread_ts,
            response_url=clicked.response_url,
            private=private or clicked.hidden,
            files_only=files_only,
        )
        self.take(job, f"trigger:{body['trigger_id']}")

    def share(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """Ask in which channel to share."""
        self.open(body, share_form(str(action.get("value", ""))))
        ack()

    # Forms: they open, change with the command that is picked, and ask.

    def ask_anywhere(self, ack: Callable[..., Any], body: JsonObject) -> None:
        """The shortcut “Ask Daybreak”."""
        self.open_form(body, "", Origin())
        ack()

    def ask_about(self, ack: Callable[..., Any], body: JsonObject) -> None:
        """The shortcut on a message: what it asked, or what its words ask, to be changed."""
        message = body["message"]
        me = {self.identity.bot_id, self.identity.bot_user} - {""}
        own = bool(me & {message.get("bot_id"), message.get("user")})
        asked = question_in(message) if own else said(message.get("text") or "")
        thread = message.get("thread_ts") or body.get("message_ts") or message["ts"]
        url = body.get("response_url", "")
        self.open_form(body, asked, Origin(body["channel"]["id"], thread, response_url=url))
        ack()

    def change(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """The question of an answer, to be changed."""
        self.open_form(body, str(action.get("value", "")), clicked_at(body))
        ack()

    def open_form(self, body: JsonObject, question: str, origin: Origin) -> None:
        """The form of a question, or the choice of a command."""
        filled = form_for(question, origin, self.today(), self.bot.catalog)
        self.open(body, modal_of(filled, self.bot.catalog))

    def open(self, body: JsonObject, view: JsonObject) -> None:
        """Open a modal, once for each trigger."""
        if self.is_new(f"trigger:{body['trigger_id']}"):
            self.notices.aside.submit(self.show, body, view)

    def show(self, body: JsonObject, view: JsonObject) -> None:
        """Show a modal to who may ask something here; may ask Slack who that is."""
        user, channel = body["user"]["id"], (body.get("channel") or {}).get("id", "")
        refused = self.bot.access.barred(user, channel)
        if refused is None:
            self.notices.poster.open_view(body["trigger_id"], view)
            return
        job = Job("", user, channel, "button", response_url=body.get("response_url", ""))
        self.notices.tell(job, error_message(refused))

    def today(self) -> dt.date:
        """The day by which a form is checked; the analyst reads the question by its own clock."""
        return dt.datetime.now(self.bot.settings.zone).date()

    def pick(self, ack: Callable[..., Any], body: JsonObject, action: JsonObject) -> None:
        """Another command was picked in a form."""
        view = body["view"]
        filled = moved_to(filled_in(view), action["selected_option"]["value"])
        update = self.notices.poster.update_view
        form = modal_of(filled, self.bot.catalog)
        self.notices.aside.submit(update, view["id"], view.get("hash", ""), form)
        ack()

    def formed(self, ack: Callable[..., Any], view: JsonObject, body: JsonObject) -> None:
        """A form asks; what is wrong in it is told at its field."""
        filled = filled_in(view)
        if filled.verb not in COMMANDS:  # of an earlier version of ours
            ack(response_action="update", view=modal_of(Filled(), self.bot.catalog))
            return
        try:
            text = question_of(filled, self.today(), self.bot.catalog)
        except FieldsError as error:
            ack(response_action="errors", errors=error.errors)
            return
        urls = [u["response_url"] for u in body.get("response_urls") or ()]
        job = job_of(filled, text, body["user"]["id"], *urls[:1])
        reply = self.accept(job, f"view:{view['id']}:{view.get('hash', '')}")
        if reply is None or reply.text.startswith(WORKING):
            ack()
        elif reply.blocks:  # it waits, and can be cancelled
            ack()
            self.notices.tell(job, reply)
        else:
            again = modal_of(filled, self.bot.catalog, reply.text)
            assert_sendable(again, "modal")
            ack(response_action="update", view=again)

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
        dropped = number.isdigit() and self.queue.cancel(int(number), person, self.cancelled)
        self.wake()
        ack()
        told = "Cancelled." if dropped else "There is nothing left to cancel."
        channel, thread = body["channel"]["id"], body.get("container", {}).get("thread_ts", "")
        job = Job("", person, channel, "button", response_url=body.get("response_url", ""))
        self.notices.tell(job, plain_message(told))
        if dropped and thread:
            self.notices.aside.submit(self.notices.poster.set_status, channel, thread, "")

    def cancelled(self, connection: Any, dropped: Dropped) -> None:
        """Keep a cancelled question in the audit."""
        asked = Job.from_json(dropped.work).asked(CancelledError.code, dropped.seconds)
        self.bot.audit(asked, connection)
        with trail.following(asked.reference):
            log.info("cancelled", extra={"seconds": dropped.seconds})

    def take(self, job: Job, key: str) -> bool:
        """Put a question in the line; whether it was new. Who has to wait, or go, is told."""
        reply = self.accept(job, key)
        if reply and not reply.text.startswith(WORKING):
            self.notices.tell(job, reply)
        elif reply:
            self.notices.working(job)
        return reply is not None

    def accept(self, job: Job, key: str) -> Message | None:
        """Put a question in the line: what the asker is told, or None for a repeat."""
        with trail.following(trail.new()) as reference, spans.span("accept", way=job.way):
            return self._accept(dataclasses.replace(job, reference=reference), key)

    def _accept(self, job: Job, key: str) -> Message | None:
        try:
            refused = self.refused(job)
            if refused is not None:
                return self.turned_away(job, key, refused)
            place = self.queue.put(key, job.user, job.to_json())
        except StateError as error:
            log.exception("state_error", extra={"detail": error.detail})
            return plain_message("I can't take questions just now. Please try again in a minute.")
        self.notices.aside.submit(self.bot.access.learn, job.user, job.channel)
        if isinstance(place, Place):
            log.info("accepted", extra={"way": job.way, "job": place.job, "place": place.number})
        spans.tell(outcome=ACCEPTANCE[type(place)])
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
                self.notices.waiting(job, number)
                told = f"You are number {number} in line with {safe.code(job.text)}."
                return with_cancel(told, taken)

    def refused(self, job: Job) -> RefusedError | None:
        """Why a question is not even accepted, by what is known without asking Slack."""
        return self.bot.access.refusal(job.text, self.bot.catalog, job.user, channel=job.channel)

    def turned_away(self, job: Job, key: str, refused: RefusedError) -> Message | None:
        """Keep the refusal in the audit, once; what the asker is told, or None for a repeat."""
        if not self.bot.state.first_time(key):
            return None
        self.bot.audit(job.asked(refused.code))
        spans.tell(outcome=refused.code)
        log.info("turned_away", extra={"way": job.way, "outcome": refused.code})
        return error_message(refused)


def said(text: str, own_user: str = "") -> str:
    """What a person typed, without Slack's formatting: `&gt;` is `>`.

    People, channels and groups stay as `<#C1|ops>`, without blanks. A mention of ourselves is not
    part of the question.
    """

    def unformatted(match: re.Match[str]) -> str:
        sign, target, label = match.group(1), match.group(2), match.group(3)
        if sign == "@" and target == own_user:
            return " "
        if LASTING.fullmatch(sign + target):
            named = f"|{'-'.join(label.split())}" if label else ""
            return f"<{sign}{target}{named}>"
        return f"{sign}{label or target}"

    return html.unescape(FORMATTED.sub(unformatted, text)).strip()


def clicked_at(body: JsonObject) -> Origin:
    """Where a button is, and so where its answer goes; App Home has no channel."""
    container = body.get("container", {})
    hidden = bool(container.get("is_ephemeral"))
    channel = (body.get("channel") or {}).get("id", "")
    in_place = container.get("message_ts", "") if channel else ""
    thread = "" if hidden else container.get("thread_ts") or in_place
    return Origin(channel, thread, hidden, body.get("response_url", ""))


def job_of(filled: Filled, text: str, user: str, response_url: str = "") -> Job:
    """The job of a form: in a channel, in a thread of it, or in a direct message."""
    origin = filled.origin
    way: Way = "command"
    if origin.thread_ts:
        way = "button"
    if not origin.channel or (is_direct(origin.channel) and not origin.hidden):
        way = "direct"
    return Job(
        text=text,
        user=user,
        channel=origin.channel,
        way=way,
        thread_ts=origin.thread_ts,
        response_url=response_url or origin.response_url,
        private=origin.hidden or filled.form == "sql",
    )


def question_in(message: JsonObject) -> str:
    """The question that a message of ours answers: as it was written down beside, or on a button.

    Slack does not hand out what is written down beside a message everywhere.
    """
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") == EVENT:
        return str((metadata.get("event_payload") or {}).get("question") or "")
    elements = [e for b in message.get("blocks") or () for e in b.get("elements") or ()]
    return next((str(e["value"]) for e in elements if e.get("action_id") == CHANGE), "")


def with_form(told: str) -> Message:
    """A sentence (mrkdwn of ours) with a button to the form."""
    section: JsonObject = {"type": "section", "text": mrkdwn(told)}
    ask = button(CHANGE, "Ask with a form", HELP)
    return Message(told, (section, {"type": "actions", "elements": [ask]}), (), True)


def identity_in(team: str, identity: Identity, workspaces: Workspaces | None) -> Identity | None:
    """Who we are in a workspace: the one there is, or one that installed us; None: it did not."""
    if workspaces is None:
        return identity
    installed = workspaces.installed(team)
    if installed is None:
        return None
    return Identity(team, installed.bot_id or "", installed.bot_user_id or "")


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
