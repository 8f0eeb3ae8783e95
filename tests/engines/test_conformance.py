"""Every command gives DuckDB's answer on ClickHouse and on a Spark cluster."""

import pytest

from analytics.command import Context
from bot.dispatch import answer
from bot.moving import comparable, questions

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore::Warning:pyspark")]


@pytest.mark.parametrize("text", questions())
@pytest.mark.parametrize("engine", ["clickhouse", "spark"])
def test_an_engine_gives_duckdbs_answer(
    engine: str, text: str, shop: Context, request: pytest.FixtureRequest
) -> None:
    theirs: Context = request.getfixturevalue(engine)
    told = answer(text, theirs).result
    assert told.receipt is not None
    if told.receipt.queries:
        assert told.receipt.engine.lower().startswith(engine)
    assert comparable(told) == comparable(answer(text, shop).result)
