"""The analyst: works off claimed questions where the store is, and fills the outbox.

The answer goes into the outbox in the transaction that ends the claim, so a question is answered
once however often it was begun. Simpler forms of an answer are kept for a while: they are drawn
when Slack refuses the first, and whoever sends it asks for them by the queue.
"""

import dataclasses
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from analytics.command import COMMANDS
from analytics.errors import UserError
from bot import spans, trail
from bot.dispatch import Answer, Asked
from bot.elsewhere import LOST
from bot.loading import Order
from bot.setup import Bot
from bot.slack.agent import asked_before, begun, writes
from bot.slack.answering import BY_TERMINAL, Delivery, Finished, Job, Way, delivery_of, told
from bot.slack.blocks import Message, error_message, plain_message
from bot.slack.home import QUESTION as HOME
from bot.slack.keeper import Killed
from bot.slack.post import Poster
from bot.slack.runs import MOST_BEGUN, Endings, Runner
from bot.slack.threads import continued
from bot.slack.work import Work
from bot.terminal import Shown, Wanted, load_shown, refused, shown
from storage.outbox import Outbox
from storage.processes import put_reply_in
from storage.queue import Claim, Queue, add_job_in

log = logging.getLogger("daybreak.slack")

#: The simpler forms of so many answers are kept.
MOST_KEPT = 100

#: What nobody asked, and the audit does not tell of.
UNAUDITED: tuple[Way, ...] = ("chore", "redraw")
#: Why a schedule has no answer, by how its question ended.
KILLED: dict[Killed, str] = {
    "killed_for_time": "it took too long",
    "killed_for_memory": "it needed too much memory",
}

GAVE_UP = plain_message("This question stopped me three times, so I gave it up. Ask for less.")
NO_ANSWER = plain_message("I have the answer, but could not draw it. Whoever runs me finds why.")


class Analyst:
    """Answers one question at a time in each thread that asks it to."""

    def __init__(
        self,
        bot: Bot,
        queue: Queue,
        outbox: Outbox,
        poster: Poster,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        """`poster` reads threads and finds channels; it posts nothing.

        `answered()` hears that there is something to post.
        """
        self.bot = bot
        self.queue = queue
        self.outbox = outbox
        self.poster = poster
        self.answered = answered
        self._simpler: OrderedDict[str, Iterator[Message]] = OrderedDict()

    def facts(self) -> dict[str, Any]:
        """What others want to know of the data."""
        through = self.bot.data_through()
        return {"data_through": through and through.isoformat()}

    def work(self, claim: Claim, work: Work | None = None) -> None:
        """Answer one question, and put the answer in the outbox."""
        job = Job.from_json(claim.work)
        with trail.following(job.reference or trail.new()), spans.span("run", way=job.way):
            waited = round(claim.waited, 3)
            log.info("started", extra={"way": job.way, "begun": claim.fence, "waited": waited})
            self._work(claim, job, work or Work())

    def _work(self, claim: Claim, job: Job, work: Work) -> None:
        rows: list[Asked] = []
        finished = self._finished(claim, job, work, rows.append)
        with self.bot.state.transaction() as connection:
            if not self.queue.finish_in(connection, claim):
                log.info("answer_dropped", extra={"job": claim.job})
                return
            finished.record(connection)
            for asked in rows:
                self.bot.audit(asked, connection)
            for delivery, rungs in finished.outgoing:
                key = delivery.key or secrets.token_hex(8)
                self._keep(key, rungs)
                self.outbox.add_in(connection, key=key, lane=delivery.lane, body=delivery.to_json())
            if changes_home(job):
                home = Job(HOME, job.user, "", "home")
                add_job_in(connection, home.user, home.to_json())
        outcome, posts = "".join(row.outcome for row in rows[-1:]), len(finished.outgoing)
        log.info("answered", extra={"way": job.way, "outcome": outcome, "posts": posts})
        spans.tell(verb=verb_of(rows), outcome=outcome, posts=posts)
        self.answered()

    def _finished(
        self, claim: Claim, job: Job, work: Work, keep: Callable[[Asked], None]
    ) -> Finished:
        """What the job comes to; `keep` gets the rows of the audit, written once it is finished."""
        runner = Runner(self.bot, self.poster)
        if claim.fence > MOST_BEGUN and job.way not in UNAUDITED:
            log.error("question_given_up", extra={"job": claim.job})
            keep(job.asked(LOST, self.queue.worked(claim.job)))
        match job.way:
            case "redraw":
                return self._redrawn(job.text)
            case "terminal":
                return self._for_terminal(claim, job, work, keep)
            case "load":
                return self._load(claim, job, work, keep)
            case "chore":
                return runner.chore(job, begun=claim.fence)
            case "schedule" if claim.fence > MOST_BEGUN:
                return runner.given_up(job, "it ended my process three times")
            case "schedule":
                return runner.run(job, tell=work.tell, begun=work.begun, keep=keep)
            case _:
                return Finished((self._answer(claim, job, work, keep),))

    def _for_terminal(
        self, claim: Claim, job: Job, work: Work, keep: Callable[[Asked], None]
    ) -> Finished:
        """What the terminal shows, which waits for it."""
        if claim.fence > MOST_BEGUN:
            return replied(claim, job, GAVE_UP)
        wanted = Wanted(**json.loads(job.wanted))
        answer = shown(self.bot, job.text, wanted, tell=work.tell, begun=work.begun, keep=keep)
        return reply(claim, answer)

    def _load(self, claim: Claim, job: Job, work: Work, keep: Callable[[Asked], None]) -> Finished:
        """What became of the files, for the terminal that waits for it.

        A file that was taken before its process ended is known, and not taken again.
        """
        if claim.fence > MOST_BEGUN:
            return replied(claim, job, GAVE_UP)
        began = time.monotonic()
        order, wanted = Order.from_json(job.order), Wanted(**json.loads(job.wanted))
        told = load_shown(self.bot, order, wanted, work.tell)
        outcome = "refused" if told.status else "answered"
        keep(job.asked(outcome, time.monotonic() - began))
        return reply(claim, told)

    def _keep(self, key: str, rungs: Iterator[Message]) -> None:
        """The simpler forms of an answer, while there is room; afterwards there are words."""
        self._simpler[key] = rungs
        while len(self._simpler) > MOST_KEPT:
            self._simpler.popitem(last=False)

    def _redrawn(self, key: str) -> Finished:
        """The next simpler form of an answer that Slack refused; words, where none is kept."""
        body = self.outbox.body_of(key)
        if not body:
            return Finished()
        delivery = Delivery.from_json(body)
        simpler = next(self._simpler.get(key, iter(())), None)
        drawn = dataclasses.replace(
            delivery,
            message=simpler or Message(delivery.message.text),
            is_simplest=simpler is None or not simpler.blocks,
        )

        def record(connection: Any) -> None:
            self.outbox.redrawn_in(connection, key, drawn.to_json())

        return Finished(record=record)

    def _answer(
        self, claim: Claim, job: Job, work: Work, keep: Callable[[Asked], None]
    ) -> tuple[Delivery, Iterator[Message]]:
        """The answer, or the sentence in its place."""
        if job.way == "direct" and not job.channel:  # asked in App Home, where no channel is
            channel = self.poster.direct_channel(job.user)
            job = dataclasses.replace(job, channel=channel)
        if claim.fence > MOST_BEGUN:
            return told(job, GAVE_UP), iter(())
        try:
            asker = self.bot.asker(job.user, channel=job.channel, surface="slack")
            answer = self.bot.answer(
                job.text if asker.rights.refusal else self._meant(job),
                asker,
                surface=job.surface,
                channel=job.channel,
                tell=work.tell,
                begun=work.begun,
                keep=keep,
            )
            spans.tell(queries=queries_of(answer))
            return delivery_of(self.bot, job, answer)
        except UserError as error:
            return told(job, error_message(error, job.text)), iter(())
        except Exception:
            log.exception("answer_not_drawn")
            return told(job, NO_ANSWER), iter(())

    def _meant(self, job: Job) -> str:
        """The question; in a thread, with what the thread last asked. Raises UserError."""
        if job.way not in ("mention", "direct") or not job.thread_ts:
            return job.text
        earlier = self.poster.last_question(job.channel, job.thread_ts)
        if not earlier and job.way == "mention":
            return job.text
        ctx = self.bot.context()
        if not earlier:
            before = asked_before(self.bot.state, job.user, job.channel)
            return begun(job.text, before, ctx.today, ctx.catalog)
        return continued(job.text, earlier, ctx.today, ctx.catalog)


def verb_of(rows: Sequence[Asked]) -> str:
    """The last row's command; empty where none was understood."""
    verb = "".join(row.canonical or "" for row in rows[-1:]).partition(" ")[0]
    return verb if verb in COMMANDS else ""


def queries_of(answer: Answer) -> int:
    """How many queries were asked for an answer."""
    receipt = answer.result.receipt
    return len(receipt.queries) if receipt else 0


def changes_home(job: Job) -> bool:
    """Whether App Home is to be drawn anew: something was changed where there is no channel."""
    return job.way == "direct" and not job.channel and writes(job.text)


def replied(claim: Claim, job: Job, words: Message) -> Finished:
    """A sentence to who asked, in the terminal or in Slack."""
    if job.way not in BY_TERMINAL:
        return Finished(((told(job, words), iter(())),))
    return reply(claim, refused(UserError(words.text), Wanted(**json.loads(job.wanted))))


def reply(claim: Claim, answer: Shown) -> Finished:
    """An answer to the terminal that waits for it."""

    def record(connection: Any) -> None:
        put_reply_in(connection, claim.job, answer.to_json())

    return Finished(record=record)


def finish_without(
    bot: Bot, queue: Queue, outbox: Outbox, claim: Claim, job: Job, words: Message, outcome: Killed
) -> bool:
    """End the claim of a question that has no answer: the asker hears, the audit knows.

    False where it was no longer ours.
    """
    match job.way:
        case "schedule":
            finished = Endings(bot).given_up(job, KILLED[outcome])
        case "chore" | "redraw":
            finished = Finished()
        case _:
            finished = replied(claim, job, words)
    seconds = queue.worked(claim.job)
    with bot.state.transaction() as connection:
        if not queue.finish_in(connection, claim):
            return False
        finished.record(connection)
        for delivery, _ in finished.outgoing:
            key = secrets.token_hex(8)
            outbox.add_in(connection, key=key, lane=delivery.lane, body=delivery.to_json())
        if job.way not in UNAUDITED:
            bot.audit(job.asked(outcome, seconds), connection)
    log.info("answered", extra={"way": job.way, "outcome": outcome})
    return True
