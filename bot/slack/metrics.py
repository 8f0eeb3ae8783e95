"""What Prometheus is told, read from the bot's memory as it stands: docs/operating.md has the list.

One edge tells of all processes; only how fast it acknowledged is its own. No label names a person,
a channel or a text.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bot import VERSION
from bot.setup import Bot
from storage import processes
from storage.standing import Depth, standing
from storage.state import StateError
from storage.tallies import BEYOND, BOUNDS, Tally, counted

log = logging.getLogger("daybreak.slack")

#: How long Slack waited; it gives up after 3 seconds.
ACKS = Histogram(
    "daybreak_ack_seconds",
    "Seconds in which this process acknowledged a request of Slack's.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0),
    registry=None,
)

#: Counts of the bot's memory by name: what they tell, and by which labels.
COUNTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "accepted": ("Questions that were accepted.", ()),
    "busy": ("Questions turned away: the line was full, or that of the person.", ("full",)),
    "begun_again": ("Jobs begun again as the process that held them was lost.", ()),
    "posts": ("Sends to Slack that ended: sent, put_off, unknown or failed.", ("outcome",)),
}
#: What took time: its metric, what it tells, and by which labels.
SPREADS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "question": (
        "daybreak_question_seconds",
        "Seconds for which a question was worked on, by verb and how it ended.",
        ("verb", "outcome"),
    ),
    "wait": ("daybreak_wait_seconds", "Seconds from acceptance to the first work.", ()),
    "post": ("daybreak_post_seconds", "Seconds from an answer to its message in Slack.", ()),
}


class Figures(Collector):
    """All of it, as it stands when it is asked for."""

    def __init__(self, bot: Bot) -> None:
        """The bot whose memory knows."""
        self.bot = bot

    def collect(self) -> Iterator[Metric]:
        """Where the memory does not answer, that, and what this process knows by itself."""
        yield from ACKS.collect()
        info = GaugeMetricFamily("daybreak_info", "1, with the version.", labels=("version",))
        info.add_metric((VERSION,), 1)
        yield info
        try:
            found = [*counts(counted(self.bot.state)), *self._standing()]
        except StateError as error:
            log.exception("state_error", extra={"detail": error.detail})
            found = []
        yield GaugeMetricFamily("daybreak_state_up", "1: the state database answers.", bool(found))
        yield from found

    def _standing(self) -> Iterator[Metric]:
        state = self.bot.state
        now = standing(state)
        yield from line("questions", "Questions of people", now.questions)
        yield from line("outbox", "Posts", now.posts)
        yield gauge("schedules", "Schedules, by whether they rest.", "state", now.schedules)
        yield gauge("runs", "Scheduled runs of the last 90 days, by state.", "state", now.runs)
        yield GaugeMetricFamily("daybreak_incidents", "Alerts' open incidents.", now.incidents)
        yield gauge("processes", "Processes heard of lately, by role.", "role", now.processes)
        ends = sum(int(p.facts.get("worker_ends", 0)) for p in processes.living(state, "analyst"))
        yield GaugeMetricFamily(
            "daybreak_worker_ends", "Workers that ended under the analysts that live.", ends
        )
        through = self.bot.data_through()
        if through is not None:
            age = (self.bot.now().replace(tzinfo=None) - through).total_seconds()
            yield GaugeMetricFamily(
                "daybreak_data_age_seconds", "Seconds since the newest row of the data.", age
            )


def line(name: str, said: str, depths: Mapping[str, Depth]) -> tuple[Metric, Metric]:
    """How many stand in a line, and for how long."""
    return (
        gauge(name, f"{said} in the line.", "status", {s: d.number for s, d in depths.items()}),
        gauge(
            f"{name}_oldest_seconds",
            f"{said}: seconds since the oldest came.",
            "status",
            {s: d.oldest_seconds for s, d in depths.items()},
        ),
    )


def gauge(name: str, said: str, label: str, values: Mapping[str, float]) -> Metric:
    """A number for each value of a label."""
    metric = GaugeMetricFamily(f"daybreak_{name}", said, labels=(label,))
    for value, number in values.items():
        metric.add_metric((value,), number)
    return metric


def counts(tallied: Sequence[Tally]) -> Iterator[Metric]:
    """Counters and histograms; those without labels are there from the beginning, as 0."""
    by_name: dict[str, dict[tuple[str, ...], list[Tally]]] = defaultdict(dict)
    for name, names in [
        *((name, labels) for name, (_, labels) in COUNTS.items()),
        *((name, labels) for name, (_, _, labels) in SPREADS.items()),
    ]:
        if not names:
            by_name[name][()] = []
        for tally in (t for t in tallied if t.name == name):
            by_name[name].setdefault(tuple(tally.labels[n] for n in names), []).append(tally)
    for name, (said, labels) in COUNTS.items():
        counter = CounterMetricFamily(f"daybreak_{name}", said, labels=labels)
        for values, found in by_name[name].items():
            counter.add_metric(values, sum(t.number for t in found))
        yield counter
    for name, (called, said, labels) in SPREADS.items():
        spread = HistogramMetricFamily(called, said, labels=labels)
        for values, found in by_name[name].items():
            spread.add_metric(values, buckets_of(found), sum(t.seconds for t in found))
        yield spread


def buckets_of(tallied: Sequence[Tally]) -> list[tuple[str, float]]:
    """How many lie under each bound: Prometheus counts them from below."""
    numbers = {t.bound: t.number for t in tallied}
    buckets, total = [], 0.0
    for bound in (*map(str, BOUNDS), BEYOND):
        total += numbers.get(bound, 0)
        buckets.append((bound, total))
    return buckets
