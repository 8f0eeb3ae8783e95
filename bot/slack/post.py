"""Posting: in order per channel, at Slack's pace, on the best rung that Slack takes.

One post is in flight per channel. 429 is waited out and sent again; an answer that never came is
not, for the post may have been made. A message that Slack would refuse is not sent: the next
simpler rung is, and at the end a sentence that says so. Silence is no outcome.
"""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from itertools import chain
from socket import gaierror
from typing import Any, Literal
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.webhook import WebhookClient

from bot.ids import within
from bot.slack.blocks import File, JsonObject, Message, plain_message
from bot.slack.sendable import NotSendableError, assert_sendable

log = logging.getLogger("daybreak.slack")

Outcome = Literal["sent", "not sent", "unknown"]

TIMEOUT_S = 10
#: What Slack puts off for longer in all is given up.
PATIENCE_S = 30.0
RETRY_AFTER_S = 1.0
#: Where there was no connection, it is tried again so often.
AGAIN_S = 2.0
#: A message is looked for among so many of its channel.
LOOK_BACK = 200
CHANNELS_PAGE = 500
EVENT = "daybreak_answer"
#: Slack's words for a message that it does not understand: a simpler one may pass.
TOO_FINE = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "invalid_arguments", "msg_too_long"}
)
#: Slack's words for a place where we are not.
NOT_THERE = frozenset({"not_in_channel", "channel_not_found", "is_archived", "restricted_action"})

#: Slack's words for a message that can't be changed any more.
NOT_CHANGEABLE = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"}
)

UNSENDABLE = plain_message("I have the answer, but Slack did not take it in any form of mine.")


@dataclass(frozen=True)
class Posted:
    """How a post ended: `ts` names the message, `error` is Slack's word for why not.

    `wait_seconds` is how long Slack asks to wait.
    """

    outcome: Outcome
    ts: str = ""
    error: str = ""
    message: Message | None = None
    wait_seconds: float | None = None


def web_client(token: str, api_url: str) -> WebClient:
    """A client that never sends anything twice by itself."""
    return WebClient(token, base_url=api_url, timeout=TIMEOUT_S, retry_handlers=[])


class Poster:
    """Sends messages and files; safe to use from many threads."""

    def __init__(self, client: WebClient, *, patience_seconds: float = PATIENCE_S) -> None:
        """`client` must have no retry handlers; waits are for the caller where they are longer."""
        self.client = client
        self.patience_seconds = patience_seconds
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Wait for no further 429."""
        self._stopping.set()

    def post(
        self,
        channel: str,
        rungs: Iterable[Message],
        *,
        thread_ts: str = "",
        key: str = "",
        question: str = "",
    ) -> Posted:
        """Post in a channel, or in a thread of it.

        `find` finds it again by its key, and `last_question` what it answers.
        """
        where: JsonObject = {"channel": channel} | ({"thread_ts": thread_ts} if thread_ts else {})
        if key:
            payload = {"key": key, "question": question}
            where["metadata"] = {"event_type": EVENT, "event_payload": payload}

        def send(payload: JsonObject) -> str:
            return str(self.client.chat_postMessage(**payload)["ts"])

        return self._climb(channel, rungs, where, send)

    def update(
        self, channel: str, ts: str, rungs: Iterable[Message], *, key: str, question: str = ""
    ) -> Posted:
        """Change a message of ours into another; the same twice is as good as once."""
        payload = {"key": key, "question": question}
        where: JsonObject = {"channel": channel, "ts": ts}
        where["metadata"] = {"event_type": EVENT, "event_payload": payload}

        def send(payload: JsonObject) -> str:
            kept = {k: v for k, v in payload.items() if not k.startswith("unfurl_")}
            # without blocks the old ones would stay
            return str(self.client.chat_update(**{"blocks": [], **kept})["ts"])

        return self._climb(channel, rungs, where, send)

    def whisper(
        self, channel: str, user: str, rungs: Iterable[Message], *, thread_ts: str = ""
    ) -> Posted:
        """Post for the eyes of one member of a channel."""
        where = {"channel": channel, "user": user}
        where |= {"thread_ts": thread_ts} if thread_ts else {}

        def send(payload: JsonObject) -> str:
            kept = {k: v for k, v in payload.items() if not k.startswith("unfurl_")}
            return str(self.client.chat_postEphemeral(**kept)["message_ts"])

        return self._climb(channel, rungs, where, send)

    def respond(self, response_url: str, rungs: Iterable[Message], *, to_all: bool) -> Posted:
        """Answer by a response_url: it works for half an hour and five times, anywhere."""
        webhook = WebhookClient(response_url, timeout=TIMEOUT_S, retry_handlers=[])
        where: JsonObject = {
            "response_type": "in_channel" if to_all else "ephemeral",
            "replace_original": False,
        }

        def send(payload: JsonObject) -> str:
            response = webhook.send_dict(payload)
            if response.status_code != 200:
                raise WebhookError(response.status_code, str(response.body), response.headers)
            return ""

        return self._climb(response_url, rungs, where, send)

    def find(self, channel: str, key: str, *, thread_ts: str = "") -> str | None:
        """The ts of the message with this key, empty where there is none; None: can't be told.

        Raises NotShownNowError where it may be told later.
        """
        found = self.copies(channel, key, thread_ts=thread_ts)
        return None if found is None else next(iter(found), "")

    def copies(self, channel: str, key: str, *, thread_ts: str = "") -> list[str] | None:
        """The ts of all messages with this key, the earliest first; None: can't be told.

        Raises NotShownNowError where it may be told later.
        """
        try:
            latest = self._read(channel, thread_ts)
        except SlackApiError as error:
            log.warning("history_not_read", extra={"error": error_word(error)})
            if status_of(error) == 429 or status_of(error) >= 500:
                raise NotShownNowError from error
            return None
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("history_not_read", extra={"error": error_word(error)})
            raise NotShownNowError from error
        found = []
        for message in latest:
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload.get("key") == key:
                found.append(str(message["ts"]))
        return sorted(found, key=stamp)

    def delete(self, channel: str, ts: str) -> bool:
        """Delete a message of ours; whether it is gone."""
        try:
            self.client.chat_delete(channel=channel, ts=ts)
        except SlackApiError as error:
            log.warning("not_deleted", extra={"error": error_word(error)})
            return error_word(error) == "message_not_found"
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("not_deleted", extra={"error": error_word(error)})
            return False
        return True

    def channel_called(self, name: str, team: str = "") -> str:
        """The id of a channel by its name, empty where we see none. Raises NotShownNowError.

        `team` is the workspace, where there are several.
        """
        of_team = {"team_id": team} if team else {}
        cursor = ""
        while True:
            try:
                answer = self.client.conversations_list(
                    types="public_channel,private_channel",
                    exclude_archived=True,
                    limit=CHANNELS_PAGE,
                    cursor=cursor,
                    **of_team,
                )
            except (SlackClientError, OSError, HTTPException) as error:
                log.warning("channels_not_listed", extra={"error": error_word(error)})
                raise NotShownNowError from error
            for channel in answer["channels"]:
                if channel["name"] == name:
                    return within(team, str(channel["id"]))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return ""

    def last_question(self, channel: str, thread_ts: str) -> str:
        """The question that was answered last in a thread; empty where there is none."""
        answered = ""
        for message in self._latest(channel, thread_ts) or ():
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == EVENT:
                answered = (metadata.get("event_payload") or {}).get("question") or answered
        return answered

    def has_files(self, channel: str, names: Sequence[str], *, thread_ts: str = "") -> bool:
        """Whether a message with files of these names is there."""
        wanted = set(names)
        return any(
            wanted <= {f.get("name") for f in message.get("files") or ()}
            for message in self._latest(channel, thread_ts) or ()
        )

    def _latest(self, channel: str, thread_ts: str) -> list[JsonObject] | None:
        """The latest messages of a channel or thread; None where Slack does not show them."""
        try:
            return self._read(channel, thread_ts)
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("history_not_read", extra={"error": error_word(error)})
            return None

    def _read(self, channel: str, thread_ts: str) -> list[JsonObject]:
        """The latest messages of a channel or thread. Raises what Slack's client raises."""
        if thread_ts:
            answer = self.client.conversations_replies(
                channel=channel, ts=thread_ts, limit=LOOK_BACK, include_all_metadata=True
            )
        else:
            answer = self.client.conversations_history(
                channel=channel, limit=LOOK_BACK, include_all_metadata=True
            )
        return list(answer["messages"])

    def upload(self, channel: str, files: Sequence[File], *, thread_ts: str = "") -> Posted:
        """Upload files as one message."""
        for file in files:
            assert_sendable(
                {"filename": file.name, "length": len(file.content)}
                | ({"alt_txt": file.alt} if file.alt else {}),
                "file",
            )
        items = [
            {"filename": f.name, "content": f.content, "title": f.title}
            | ({"alt_txt": f.alt} if f.alt else {})
            for f in files
        ]

        def send() -> str:
            self.client.files_upload_v2(
                file_uploads=items,
                channel=channel,
                thread_ts=thread_ts or None,
                request_file_info=False,
            )
            return ""

        with self._locks[channel]:
            return self._send(send, None)

    def direct_channel(self, user: str) -> str:
        """The channel between us and one person; empty where Slack does not give it."""
        try:
            return str(self.client.conversations_open(users=[user])["channel"]["id"])
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("no_direct_channel", extra={"user": user, "error": error_word(error)})
            return ""

    def publish_home(self, user: str, view: JsonObject) -> Posted:
        """Show a view in one person's App Home."""
        assert_sendable(view, "home")

        def send() -> str:
            self.client.views_publish(user_id=user, view=view)
            return ""

        return self._send(send, None)

    def open_view(self, trigger_id: str, view: JsonObject) -> bool:
        """Open a modal; whether Slack did."""
        assert_sendable(view, "modal")
        return self._show(lambda: self.client.views_open(trigger_id=trigger_id, view=view))

    def update_view(self, view_id: str, seen: str, view: JsonObject) -> bool:
        """Put another view in place of an open one whose hash is `seen`; whether Slack did."""
        assert_sendable(view, "modal")
        return self._show(
            lambda: self.client.views_update(view_id=view_id, hash=seen or None, view=view)
        )

    def set_status(self, channel: str, thread_ts: str, status: str) -> bool:
        """Say beside our name in a thread what we do; Slack takes it away with the answer."""
        return self._show(
            lambda: self.client.assistant_threads_setStatus(
                channel_id=channel, thread_ts=thread_ts, status=status
            )
        )

    def set_title(self, channel: str, thread_ts: str, title: str) -> bool:
        """Name a thread of our direct messages."""
        return self._show(
            lambda: self.client.assistant_threads_setTitle(
                channel_id=channel, thread_ts=thread_ts, title=title
            )
        )

    def suggest(self, channel: str, title: str, prompts: list[JsonObject]) -> Posted:
        """Show questions to begin with in our direct messages."""

        def send() -> str:
            self.client.assistant_threads_setSuggestedPrompts(
                channel_id=channel, title=title, prompts=prompts
            )
            return ""

        return self._send(send, None)

    def _show(self, call: Callable[[], object]) -> bool:
        """Whether Slack shows what is to be shown beside the messages."""
        try:
            call()
        except (SlackClientError, OSError, HTTPException) as error:
            log.warning("not_shown", extra={"error": error_word(error)})
            return False
        return True

    def _climb(
        self,
        channel: str,
        rungs: Iterable[Message],
        where: JsonObject,
        send: Callable[[JsonObject], str],
    ) -> Posted:
        """Down the ladder until Slack takes a rung."""
        posted = Posted("not sent", error="no_message")
        with self._locks[channel]:
            for message in chain(rungs, (UNSENDABLE,)):
                payload = message.payload | where
                try:
                    assert_sendable(payload)
                except NotSendableError as error:
                    log.exception("not_sendable", extra={"faults": str(error)})
                    posted = Posted("not sent", error="not_sendable", message=message)
                    continue
                posted = self._send(partial(send, payload), message)
                if posted.outcome != "not sent" or posted.error not in TOO_FINE:
                    return posted
                log.warning("rung_refused", extra={"error": posted.error})
        return posted

    def _send(self, send: Callable[[], str], message: Message | None) -> Posted:
        """Send once; again only where Slack surely did not act."""
        give_up = time.monotonic() + self.patience_seconds
        while True:
            try:
                return Posted("sent", ts=send(), message=message)
            except (SlackApiError, WebhookError) as error:
                wait = retry_after(error)
                if wait is not None and time.monotonic() + wait < give_up:
                    if not self._stopping.wait(wait):
                        continue
                    return Posted("not sent", error="stopping", message=message)
                word = error_word(error)
                outcome: Outcome = "unknown" if status_of(error) >= 500 else "not sent"
                log.warning("post_failed", extra={"error": word, "outcome": outcome})
                return Posted(outcome, error=word, message=message, wait_seconds=wait)
            except (SlackClientError, OSError, HTTPException) as error:
                word = error_word(error)
                log.warning("post_failed", extra={"error": word})
                if never_sent(error):
                    return Posted("not sent", error=word, message=message, wait_seconds=AGAIN_S)
                return Posted("unknown", error=word, message=message)


class NotShownNowError(Exception):
    """Slack did not say what stands in a channel; asked later, it may."""


def stamp(ts: str) -> tuple[int, int]:
    """A message's ts in the order of time."""
    seconds, _, rest = ts.partition(".")
    return int(seconds or 0), int(rest or 0)


class WebhookError(Exception):
    """A response_url that did not take a message."""

    def __init__(self, status: int, word: str, headers: dict[str, str]) -> None:
        """`word` is what Slack said."""
        super().__init__(f"{status} {word}")
        self.status = status
        self.word = word
        self.headers = headers


def never_sent(error: BaseException) -> bool:
    """Whether a request surely did not leave: there was no connection to send it on."""
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, ConnectionRefusedError | gaierror)


def status_of(error: SlackApiError | WebhookError) -> int:
    """The HTTP status of a refusal."""
    if isinstance(error, WebhookError):
        return error.status
    return int(getattr(error.response, "status_code", 0) or 0)


def retry_after(error: SlackApiError | WebhookError) -> float | None:
    """Seconds to wait where Slack says that we are too fast; None where it says something else."""
    if status_of(error) != 429:
        return None
    headers: dict[str, Any] = (
        error.headers if isinstance(error, WebhookError) else error.response.headers
    )
    said = {k.lower(): v for k, v in headers.items()}.get("retry-after", "")
    said = said[0] if isinstance(said, list) and said else said
    return float(said) if str(said).isdigit() else RETRY_AFTER_S


def error_word(error: BaseException) -> str:
    """A word for the log and for decisions; never a body, which may hold a secret URL."""
    if isinstance(error, WebhookError):
        return error.word if error.word.isidentifier() else f"http_{error.status}"
    if isinstance(error, SlackApiError):
        data = getattr(error.response, "data", None)
        if isinstance(data, str | bytes):
            try:
                data = json.loads(data)
            except ValueError:
                data = None
        if isinstance(data, dict) and data.get("error"):
            return str(data["error"])
        return f"http_{status_of(error)}"
    return type(error).__name__
