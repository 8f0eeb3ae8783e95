"""What is to be posted, in the state database: in order per lane, and over kill -9.

A post is `due`, then `sending` under a lease, then `sent` or `failed`. Within a lane only the
oldest unfinished post is handed out. A post whose lease ran out may have been made or not: it is
handed out with `tried` above 0, and its sender must look before it sends again.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from storage.state import NowUs, State, microseconds, posts

DUE, SENDING, SENT, FAILED = "due", "sending", "sent", "failed"


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

    def add_in(self, connection: sa.Connection, *, key: str, lane: str, body: str) -> int:
        """Put a post in its lane, inside a transaction; its id."""
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
        inserted = connection.execute(sa.insert(posts).values(row).returning(posts.c.id))
        return int(inserted.scalar_one())

    def add(self, *, key: str, lane: str, body: str) -> int:
        """Put a post in its lane; its id."""
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
        if row is None:
            return None
        return Parcel(
            row.id, row.key, row.lane, row.body, row.fence, row.tried - 1, row.step, row.ts
        )

    def not_sent(self, parcel: Parcel, *, wait_seconds: float = 0.0) -> bool:
        """The call surely did not post: the post is due again after `wait_seconds`."""
        return self._change(
            parcel,
            status=DUE,
            lease_until=0,
            tried=0,
            not_before=NowUs() + microseconds(wait_seconds),
        )

    def look_later(self, parcel: Parcel, *, wait_seconds: float) -> bool:
        """Nobody knows whether the call posted: it is to be looked up after `wait_seconds`."""
        later = NowUs() + microseconds(wait_seconds)
        return self._change(parcel, lease_until=0, not_before=later)

    def step_done(self, parcel: Parcel, step: int, ts: str, lease_seconds: float) -> bool:
        """So much of the body is sent; the next step is tried under the same claim."""
        longer = NowUs() + microseconds(lease_seconds)
        return self._change(parcel, step=step, ts=ts, tried=1, lease_until=longer)

    def sent(self, parcel: Parcel) -> bool:
        """All of it is sent."""
        return self._change(parcel, status=SENT, lease_until=0)

    def failed(self, parcel: Parcel, error: str) -> bool:
        """It can't be sent; the lane goes on."""
        return self._change(parcel, status=FAILED, lease_until=0, error=error[:200])

    def unfinished(self) -> int:
        """Posts that are due or being sent."""
        counting = sa.select(sa.func.count()).where(posts.c.status.in_((DUE, SENDING)))
        with self.state.transaction() as connection:
            return int(connection.execute(counting).scalar_one())

    def purge(self, *, older_than_seconds: float) -> int:
        """Delete finished posts; how many it were."""
        old = posts.c.made_at < NowUs() - microseconds(older_than_seconds)
        ended = posts.c.status.in_((SENT, FAILED))
        with self.state.transaction() as connection:
            return connection.execute(sa.delete(posts).where(old, ended)).rowcount

    def _change(self, parcel: Parcel, **values: object) -> bool:
        ours = (posts.c.id == parcel.id) & (posts.c.fence == parcel.fence)
        change = sa.update(posts).where(ours, posts.c.status == SENDING).values(values)
        with self.state.transaction() as connection:
            return connection.execute(change).rowcount == 1
