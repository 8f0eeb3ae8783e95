"""Accepted questions, in the state database: taken once, worked off once, kept over kill -9.

A worker holds a job by a lease on the database's clock, which it renews while it works. A lease
that ran out lets another claim the job; each claim raises the job's fence, and what an earlier
claim brings afterwards is refused. So a job may be worked on twice, but is finished once.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from storage.state import MICROSECONDS_PER_SECOND, NowUs, State, jobs, microseconds
from storage.tallies import count_in

WAITING, RUNNING, DONE, CANCELLED = "waiting", "running", "done", "cancelled"

#: Whose jobs the clock's chores are: they are nobody's questions, and make nobody wait in the line.
CHORE = "chore:"

UNFINISHED = jobs.c.status.in_((WAITING, RUNNING))
IS_CHORE = jobs.c.person.startswith(CHORE)


@dataclass(frozen=True)
class Place:
    """A job's place: 0 is worked on at once, n has n - 1 before it."""

    number: int
    job: int


@dataclass(frozen=True)
class Full:
    """No place: the line is full, or this person has enough in it."""

    by_person: bool


@dataclass(frozen=True)
class Claim:
    """A job that is ours until the lease ends; `fence` counts the claims on it, ours included."""

    job: int
    fence: int
    person: str
    work: str
    #: Seconds from its acceptance until it was first claimed.
    waited: float = 0.0


@dataclass(frozen=True)
class Dropped:
    """A job that was cancelled, and for how many seconds it had been worked on."""

    work: str
    seconds: float


@dataclass
class _Offer:
    """A job that is to be taken; `answer` once it is decided."""

    key: str
    person: str
    work: str
    answer: Place | Full | None = None
    error: BaseException | None = None
    is_decided: bool = field(default=False)


class Queue:
    """Safe to use from many threads and processes."""

    def __init__(self, state: State, *, workers: int, waiting: int, per_person: int) -> None:
        """`workers` of all processes together; `waiting` and `per_person` bound the line."""
        self.state = state
        self.workers = workers
        self.waiting = waiting
        self.per_person = per_person
        self._offers: list[_Offer] = []
        self._deciding = threading.Lock()

    def put(self, key: str, person: str, work: str) -> Place | Full | None:
        """Take a job in one transaction with its key; None where the key came before."""
        offer = _Offer(key, person, work)
        self._offers.append(offer)
        with self._deciding:
            # who comes first decides for all that came meanwhile: one commit, one wait for the disk
            if not offer.is_decided:
                self._decide()
        if offer.error is not None:
            raise offer.error
        return offer.answer

    def _decide(self) -> None:
        """Take or refuse all offers in one transaction, in the order in which they came."""
        offers, self._offers = self._offers, []
        try:
            with self.state.transaction() as connection:
                if not self.state.is_sqlite:  # there, writers take turns anyway
                    turn = sa.func.hashtextextended("daybreak queue", 0)
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))
                for offer in offers:
                    offer.answer = self._take(connection, offer)
        except Exception as error:  # noqa: BLE001 - each asker raises it
            for offer in offers:
                offer.error = error
        for offer in offers:
            offer.is_decided = True

    def _take(self, connection: sa.Connection, offer: _Offer) -> Place | Full | None:
        """One offer."""
        if not self.state.first_time_in(connection, offer.key):
            return None
        own = sa.func.count(sa.case((jobs.c.person == offer.person, 1)))
        counted = sa.select(sa.func.count(), own).where(UNFINISHED, ~IS_CHORE)
        ahead, of_person = connection.execute(counted).one()
        if of_person >= self.per_person:
            count_in(self.state, connection, "busy", full="person")
            return Full(by_person=True)
        if ahead >= self.workers + self.waiting:
            count_in(self.state, connection, "busy", full="line")
            return Full(by_person=False)
        count_in(self.state, connection, "accepted")
        job = add_job_in(connection, offer.person, offer.work)
        return Place(max(0, ahead - self.workers + 1), job)

    def claim(self, lease_seconds: float) -> Claim | None:
        """The oldest job that nobody holds, now ours; None where there is none."""
        free = (jobs.c.status == WAITING) | (
            (jobs.c.status == RUNNING) & (jobs.c.lease_until < NowUs())
        )
        oldest = (
            sa.select(jobs.c.id)
            .where(free)
            .order_by(jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        waited = (jobs.c.begun_at - jobs.c.accepted_at).label("waited")
        take = (
            sa.update(jobs)
            .where(jobs.c.id == oldest.scalar_subquery(), free)
            .values(
                status=RUNNING,
                lease_until=NowUs() + microseconds(lease_seconds),
                fence=jobs.c.fence + 1,
                begun_at=sa.case((jobs.c.begun_at == 0, NowUs()), else_=jobs.c.begun_at),
            )
            .returning(jobs.c.id, jobs.c.fence, jobs.c.person, jobs.c.work, waited)
        )
        with self.state.transaction() as connection:
            row = connection.execute(take).one_or_none()
            if row is None:
                return None
            claim = Claim(row.id, row.fence, row.person, row.work, seconds_of(row.waited))
            self._count(connection, claim)
        return claim

    def _count(self, connection: sa.Connection, claim: Claim) -> None:
        """How long a question waited; or that a job is begun again, as its holder was lost."""
        if claim.fence > 1:
            count_in(self.state, connection, "begun_again")
        elif not claim.person.startswith(CHORE):
            count_in(self.state, connection, "wait", seconds=claim.waited)

    def renew(self, claims: list[Claim], lease_seconds: float) -> list[Claim]:
        """Keep these claims for longer; those that are still ours."""
        kept = []
        with self.state.transaction() as connection:
            for claim in claims:
                longer = NowUs() + microseconds(lease_seconds)
                renewed = connection.execute(
                    sa.update(jobs).where(is_ours(claim)).values(lease_until=longer)
                )
                if renewed.rowcount:
                    kept.append(claim)
        return kept

    def held(self, claims: list[Claim]) -> list[Claim]:
        """Those of the claims that are still ours."""
        chosen = sa.select(jobs.c.id, jobs.c.fence).where(
            jobs.c.id.in_([c.job for c in claims]), jobs.c.status == RUNNING
        )
        with self.state.transaction() as connection:
            ours = {(row.id, row.fence) for row in connection.execute(chosen)}
        return [c for c in claims if (c.job, c.fence) in ours]

    def finish(self, claim: Claim) -> bool:
        """Done with it; False where the claim is no longer ours: what it brings must not count."""
        with self.state.transaction() as connection:
            return self.finish_in(connection, claim)

    def finish_in(self, connection: sa.Connection, claim: Claim) -> bool:
        """As `finish`, inside a transaction."""
        finished = connection.execute(
            sa.update(jobs).where(is_ours(claim)).values(status=DONE, lease_until=0)
        )
        return finished.rowcount == 1

    def give_back(self, claim: Claim, *, counts: bool = False) -> bool:
        """Let another take it at once; the claim counts as one only if it is said to."""
        fence = jobs.c.fence if counts else jobs.c.fence - 1
        back = {"status": WAITING, "lease_until": 0, "fence": fence}
        with self.state.transaction() as connection:
            done = connection.execute(sa.update(jobs).where(is_ours(claim)).values(back))
            return done.rowcount == 1

    def take_over(self) -> int:
        """Void all claims, for who knows that nobody works on them; how many it were.

        They count as claims: what ends its process again and again is given up.
        """
        free = {"status": WAITING, "lease_until": 0}
        with self.state.transaction() as connection:
            held = sa.update(jobs).where(jobs.c.status == RUNNING).values(free)
            return connection.execute(held).rowcount

    def cancel(
        self,
        job: int,
        person: str,
        record: Callable[[sa.Connection, Dropped], object] = lambda *_: None,
    ) -> bool:
        """Drop an unfinished job of this person; whether there was one.

        `record(connection, dropped)` writes in the same transaction.
        """
        worked = sa.case((jobs.c.begun_at == 0, 0), else_=NowUs() - jobs.c.begun_at)
        drop = (
            sa.update(jobs)
            .where(jobs.c.id == job, jobs.c.person == person, UNFINISHED)
            .values(status=CANCELLED, lease_until=0, fence=jobs.c.fence + 1)
            .returning(jobs.c.work, worked.label("worked"))
        )
        with self.state.transaction() as connection:
            row = connection.execute(drop).one_or_none()
            if row is not None:
                record(connection, Dropped(row.work, seconds_of(row.worked)))
        return row is not None

    def tell(self, claim: Claim, progress: str) -> None:
        """Say how far a job is, in words, while the claim is good."""
        said = sa.update(jobs).where(is_ours(claim)).values(progress=progress)
        with self.state.transaction() as connection:
            connection.execute(said)

    def progress(self, job: int) -> str:
        """How far a job is, in words, as it was told last."""
        chosen = sa.select(jobs.c.progress).where(jobs.c.id == job)
        with self.state.transaction() as connection:
            return str(connection.execute(chosen).scalar_one_or_none() or "")

    def worked(self, job: int) -> float:
        """For how many seconds a job has been worked on since it was first claimed."""
        chosen = sa.select(NowUs() - jobs.c.begun_at).where(jobs.c.id == job, jobs.c.begun_at > 0)
        with self.state.transaction() as connection:
            return seconds_of(connection.execute(chosen).scalar_one_or_none() or 0)

    def unfinished(self) -> int:
        """People's jobs that wait or run."""
        counting = sa.select(sa.func.count()).where(UNFINISHED, ~IS_CHORE)
        with self.state.transaction() as connection:
            return int(connection.execute(counting).scalar_one())


def add_job_in(connection: sa.Connection, person: str, work: str) -> int:
    """Put a job in the line without asking for room, inside a transaction; its number."""
    row = {
        "person": person,
        "work": work,
        "status": WAITING,
        "accepted_at": NowUs(),
        "lease_until": 0,
        "fence": 0,
    }
    inserted = connection.execute(sa.insert(jobs).values(row).returning(jobs.c.id))
    return int(inserted.scalar_one())


def seconds_of(us: int) -> float:
    """Microseconds as seconds; a clock that was set back makes none of them negative."""
    return max(0, us) / MICROSECONDS_PER_SECOND


def purge_jobs(state: State, *, older_than_seconds: float) -> int:
    """Delete finished jobs; how many it were."""
    old = jobs.c.accepted_at < NowUs() - microseconds(older_than_seconds)
    ended = jobs.c.status.in_((DONE, CANCELLED))
    with state.transaction() as connection:
        return connection.execute(sa.delete(jobs).where(old, ended)).rowcount


def is_ours(claim: Claim) -> sa.ColumnElement[bool]:
    """The claim's job, while the claim is good."""
    return (jobs.c.id == claim.job) & (jobs.c.fence == claim.fence) & (jobs.c.status == RUNNING)
