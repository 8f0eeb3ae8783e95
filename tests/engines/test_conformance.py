"""Every command gives DuckDB's answer on ClickHouse and on a Spark cluster."""

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
