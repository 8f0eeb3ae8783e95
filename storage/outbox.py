"""What is to be posted, in the state database: in order per lane, and over kill -9.

A post is `due`, then `sending` under a lease, then `sent` or `failed`. Within a lane only the
oldest unfinished post is handed out. A post whose lease ran out may have been made or not: it is
handed out with `tried` above 0, and its sender must look before it sends again.

A sender that was frozen for longer than its lease may still send beside the one that took over.
So a post that was claimed more than once is checked for copies afterwards, ever more seldom.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.state import MICROSECONDS_PER_SECOND, NowUs, State, microseconds, posts
from storage.tallies import count_in

DUE, SENDING, SENT, FAILED = "due", "sending", "sent", "failed"

#: Copies are looked for after a lease, then after four times as long as the last time.
CHECKS = 6
CHECK_GROWTH = 4
#: The body of a finished post goes with the purge; so much longer its message can be found.
KEPT_TIMES = 30


@dataclass(frozen=True)
class Parcel:
    """A post that is ours to send until the lease ends.

    `tried` counts earlier claims whose outcome nobody knows; `step` says how much of the body is
    sent, and `ts` names the message in Slack once it is known.
    """

    id: int
    key: str
    lane: str
    body: str
    fence: int
    tried: int
    step: int
    ts: str


class Outbox:
    """Safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        """Keeps its posts in the bot's memory."""
        self.state = state

    def add_in(self, connection: sa.Connection, *, key: str, lane: str, body: str) -> int | None:
        """Put a post in its lane, inside a transaction; its id, None where its key is there."""
        row = {
            "key": key,
            "lane": lane,
            "body": body,
            "status": DUE,
            "made_at": NowUs(),
            "not_before": 0,
            "lease_until": 0,
            "fence": 0,
            "tried": 0,
            "step": 0,
            "ts": "",
            "error": "",
        }
        wanted = self.state.insert(posts).values(row).on_conflict_do_nothing()
        inserted = connection.execute(wanted.returning(posts.c.id)).scalar_one_or_none()
        return None if inserted is None else int(inserted)

    def add(self, *, key: str, lane: str, body: str) -> int | None:
        """Put a post in its lane; its id, None where its key is there."""
        with self.state.transaction() as connection:
            return self.add_in(connection, key=key, lane=lane, body=body)

    def claim(self, lease_seconds: float) -> Parcel | None:
        """The oldest post that may go now; None where there is none."""
        unfinished = posts.c.status.in_((DUE, SENDING))
        firsts = sa.select(sa.func.min(posts.c.id)).where(unfinished).group_by(posts.c.lane)
        free = unfinished & (posts.c.not_before <= NowUs()) & (posts.c.lease_until < NowUs())
        oldest = (
            sa.select(posts.c.id)
            .where(posts.c.id.in_(firsts), free)
            .order_by(posts.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        take = (
            sa.update(posts)
            .where(posts.c.id == oldest.scalar_subquery(), free)
            .values(
                status=SENDING,
                lease_until=NowUs() + microseconds(lease_seconds),
                fence=posts.c.fence + 1,
                tried=posts.c.tried + 1,
            )
            .returning(posts)
        )
        with self.state.transaction() as connection:
            row = connection.execute(take).one_or_none()
        return None if row is None else _parcel(row)

    def not_sent(self, parcel: Parcel, *, wait_seconds: float = 0.0) -> bool:
        """The call surely did not post: the post is due again after `wait_seconds`."""
        with self.state.transaction() as connection:
            return self.not_sent_in(connection, parcel, wait_seconds=wait_seconds)

    def not_sent_in(
        self, connection: sa.Connection, parcel: Parcel, *, wait_seconds: float = 0.0
    ) -> bool:
        """As `not_sent`, inside a transaction."""
        return self._change_in(
            connection,
            parcel,
            "put_off",
            status=DUE,
            lease_until=0,
            tried=0,
            not_before=NowUs() + microseconds(wait_seconds),
        )

    def look_later(self, parcel: Parcel, *, wait_seconds: float) -> bool:
        """Nobody knows whether the call posted: it is to be looked up after `wait_seconds`."""
        later = NowUs() + microseconds(wait_seconds)
        with self.state.transaction() as connection:
            return self._change_in(connection, parcel, "unknown", lease_until=0, not_before=later)

    def step_done(self, parcel: Parcel, step: int, ts: str, lease_seconds: float) -> bool:
        """So much of the body is sent; the next step is tried under the same claim."""
        longer = NowUs() + microseconds(lease_seconds)
        with self.state.transaction() as connection:
            return self._change_in(
                connection, parcel, step=step, ts=ts, tried=1, lease_until=longer
            )

    def sent(self, parcel: Parcel, *, ts: str = "", check_seconds: float = 0.0) -> bool:
        """All of it is sent, as the message `ts`."""
        with self.state.transaction() as connection:
            return self.sent_in(connection, parcel, ts=ts, check_seconds=check_seconds)

    def sent_in(
        self,
        connection: sa.Connection,
        parcel: Parcel,
        *,
        ts: str = "",
        check_seconds: float = 0.0,
    ) -> bool:
        """As `sent`, inside a transaction; copies are looked for where others claimed it too."""
        is_doubtful = check_seconds and parcel.fence > 1
        check_at = NowUs() + microseconds(check_seconds) if is_doubtful else 0
        named = {"ts": ts} if ts else {}
        return self._change_in(
            connection, parcel, "sent", status=SENT, lease_until=0, check_at=check_at, **named
        )

    def ts_of(self, key: str) -> str | None:
        """The message of a post that was sent; empty where it is not sent, None: no such post."""
        chosen = sa.select(posts.c.status, posts.c.ts).where(posts.c.key == key)
        with self.state.transaction() as connection:
            row = connection.execute(chosen).one_or_none()
        if row is None:
            return None
        return str(row.ts) if row.status == SENT else ""

    def body_of(self, key: str) -> str:
        """What is to be posted under a key; empty where there is no such post."""
        chosen = sa.select(posts.c.body).where(posts.c.key == key)
        with self.state.transaction() as connection:
            return str(connection.execute(chosen).scalar_one_or_none() or "")

    def redrawn_in(self, connection: sa.Connection, key: str, body: str) -> bool:
        """Put another body in the place of a post that is due, inside a transaction."""
        due = (posts.c.key == key) & (posts.c.status == DUE)
        change = sa.update(posts).where(due).values(body=body, not_before=0)
        return connection.execute(change).rowcount == 1

    def check_now(self, parcel: Parcel) -> None:
        """Look for copies of a post at once: its sender has lost it, and may have sent it."""
        soon = sa.update(posts).where(posts.c.id == parcel.id).values(check_at=NowUs(), checks=0)
        with self.state.transaction() as connection:
            connection.execute(soon)

    def to_check(self, first_seconds: float, limit: int = 3) -> list[Parcel]:
        """Posts that are to be looked for copies of now; their next check is set by this call."""
        due = (posts.c.check_at > 0) & (posts.c.check_at <= NowUs()) & (posts.c.body != "")
        due &= posts.c.status == SENT
        oldest = (
            sa.select(posts.c.id)
            .where(due)
            .order_by(posts.c.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        pauses = (
            (posts.c.checks == n, NowUs() + microseconds(first_seconds * CHECK_GROWTH ** (n + 1)))
            for n in range(CHECKS - 1)
        )
        pause = sa.case(*pauses, else_=0)
        take = (
            sa.update(posts)
            .where(posts.c.id.in_(oldest.scalar_subquery()), due)
            .values(check_at=pause, checks=posts.c.checks + 1)
            .returning(posts)
        )
        with self.state.transaction() as connection:
            return [_parcel(row) for row in connection.execute(take)]

    def failed(self, parcel: Parcel, error: str) -> bool:
        """It can't be sent; the lane goes on."""
        with self.state.transaction() as connection:
            return self.failed_in(connection, parcel, error)

    def failed_in(self, connection: sa.Connection, parcel: Parcel, error: str) -> bool:
        """As `failed`, inside a transaction."""
        return self._change_in(
            connection, parcel, "failed", status=FAILED, lease_until=0, error=error[:200]
        )

    def unfinished(self) -> int:
        """Posts that are due or being sent."""
        counting = sa.select(sa.func.count()).where(posts.c.status.in_((DUE, SENDING)))
        with self.state.transaction() as connection:
            return int(connection.execute(counting).scalar_one())

    def purge(self, *, older_than_seconds: float) -> int:
        """Let go of the bodies of finished posts; how many it were.

        Where the message is stays known for longer, so that it can be replaced.
        """
        ended = posts.c.status.in_((SENT, FAILED))
        old = posts.c.made_at < NowUs() - microseconds(older_than_seconds)
        ancient = posts.c.made_at < NowUs() - microseconds(older_than_seconds * KEPT_TIMES)
        with self.state.transaction() as connection:
            gone = sa.delete(posts).where(ended, ancient | (old & (posts.c.ts == "")))
            deleted = connection.execute(gone).rowcount
            holds = posts.c.body != ""
            empty = sa.update(posts).where(ended, old, holds).values(body="", check_at=0)
            return deleted + connection.execute(empty).rowcount

    def _change_in(
        self, connection: sa.Connection, parcel: Parcel, outcome: str = "", **values: object
    ) -> bool:
        """Whether it was ours to change; then the `outcome` of a send is counted."""
        ours = (posts.c.id == parcel.id) & (posts.c.fence == parcel.fence)
        change = sa.update(posts).where(ours, posts.c.status == SENDING).values(values)
        age = connection.execute(change.returning(NowUs() - posts.c.made_at)).scalar_one_or_none()
        if age is None:
            return False
        if outcome:
            count_in(self.state, connection, "posts", outcome=outcome)
        if outcome == "sent":
            count_in(self.state, connection, "post", seconds=age / MICROSECONDS_PER_SECOND)
        return True


def _parcel(row: sa.Row[Any]) -> Parcel:
    """A post as it was just claimed, or is checked."""
    return Parcel(row.id, row.key, row.lane, row.body, row.fence, row.tried - 1, row.step, row.ts)
