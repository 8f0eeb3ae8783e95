"""What part of the data a question is about: a period and filters."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from analytics.period import Period


@dataclass(frozen=True)
class Filter:
    """Rows whose `dimension` is (or, negated, is not) one of `values`."""

    dimension: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True)
class Filters:
    """Filters that must all hold."""

    all: tuple[Filter, ...] = ()

    def __iter__(self) -> Iterator[Filter]:
        """In the order they were said."""
        return iter(self.all)

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.all)


def start_of_day(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """The first instant of a local day, in naive UTC.

    Where a clock change skips midnight, the day begins at the end of the gap.
    """
    midnight = dt.datetime.combine(day, dt.time(), zone)
    instant = midnight.astimezone(dt.UTC)
    if instant.astimezone(zone).date() != day:  # the wall time does not exist: fold=1 lies after it
        instant = midnight.replace(fold=1).astimezone(dt.UTC)
    return instant.replace(tzinfo=None)


def instants(period: Period, zone: ZoneInfo) -> tuple[dt.datetime, dt.datetime]:
    """The period as naive UTC instants `from <= at < until`."""
    return start_of_day(period.start, zone), start_of_day(period.end, zone)
