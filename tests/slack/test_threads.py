"""What people say in a thread after an answer."""

import datetime as dt

import pytest

from analytics.catalog import Catalog
from analytics.errors import UserError
from bot.slack.threads import continued

TODAY = dt.date(2026, 10, 10)


@pytest.mark.parametrize(
    ("earlier", "text", "meant"),
    [
        ("kpis last 30 days", "by country", "kpis last 30 days by country"),
        ("kpis last 30 days by country", "by category", "kpis last 30 days by category"),
        ("kpis last 90 days by country", "last 7 days", "kpis last 7 days by country"),
        ("kpis last 90 days", "and last 30 days?", "kpis last 30 days"),
        ("kpis last 30 days", "where country:France", "kpis last 30 days where country:France"),
        ("kpis last 30 days", "by country as table", "kpis last 30 days by country as table"),
        ("kpis last 30 days as csv", "by country", "kpis last 30 days by country"),
        ("kpis last 30 days", "status", "status"),
        (
            "kpis last 7 days by country",
            "every weekday 9am to #growth",
            "kpis last 7 days by country every weekday 09:00 to #growth",
        ),
        ("rules last 90 days", "for category bags", "rules last 90 days where category:bags"),
    ],
)
def test_a_thread_goes_on_from_its_last_question(earlier: str, text: str, meant: str) -> None:
    assert continued(text, earlier, TODAY, Catalog()) == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [("by contry", "country"), ("kpsi", "Did you mean"), ("qwertz uiop", "qwertz")],
)
def test_what_fits_nowhere_is_refused(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        continued(text, "kpis last 30 days", TODAY, Catalog())
    assert says in str(caught.value)
