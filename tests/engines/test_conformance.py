"""Every command gives DuckDB's answer on ClickHouse and on a Spark cluster."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from analytics.command import Context
from bot.moving import questions, told

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning:pyspark")]


@pytest.mark.parametrize("text", questions())
@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_an_engine_gives_duckdbs_answer(
    engine: str, text: str, shop: Context, request: pytest.FixtureRequest
) -> None:
    theirs: Context = request.getfixturevalue(engine)
    assert theirs.store.engine.version.lower().startswith(engine)
    assert told(text, theirs)[0] == told(text, shop)[0]


@pytest.mark.parametrize("text", ["segment last 365 days k 4", "segment by rfm last 365 days"])
@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_people_who_do_not_fit_are_drawn_and_assigned_as_duckdb_does(
    engine: str,
    text: str,
    shop: Context,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analytics.segments.MOST_PEOPLE", 1_000)
    said = told(text, request.getfixturevalue(engine))[0]
    assert "a stable sample of about 99" in str(said)
    assert said == told(text, shop)[0]


@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_people_who_do_not_fit_are_judged_in_parts_as_duckdb_does(
    engine: str, shop: Context, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.commands.churn.MOST_PEOPLE", 2_000)
    monkeypatch.setattr("analytics.commands.churn.LEARN_FROM", 3_000)
    said = told("churn next 60 days", request.getfixturevalue(engine))[0]
    assert "Everybody was judged, in 3 parts" in str(said)
    assert said == told("churn next 60 days", shop)[0]


@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_a_thread_of_a_machine_in_another_zone_is_given_the_same(
    engine: str, shop: Context, request: pytest.FixtureRequest, machine_zone: Callable[[str], None]
) -> None:
    theirs: Context = request.getfixturevalue(engine)
    expected = told("kpis last 30 days by country", shop)[0]
    machine_zone("Asia/Tokyo")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(told, "kpis last 30 days by country", theirs).result()[0] == expected
