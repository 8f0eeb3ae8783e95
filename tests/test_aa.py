"""A/A experiments end to end: text, SQL, verdict, message; `benchmarks.aa` asks 200 of them."""

from collections.abc import Iterator

import pytest

from benchmarks.aa import DAYS, apart, asked, context, crowd, fill, is_false, posted
from storage.store import Store

PEOPLE = 3_000
EXPERIMENTS = 30


@pytest.fixture(scope="module")
def aa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Thirty deals of the same people."""
    opened = Store.open(f"duckdb:///{tmp_path_factory.mktemp('aa') / 'aa.duckdb'}")
    fill(opened, crowd(PEOPLE), EXPERIMENTS)
    yield opened
    opened.close()


def test_few_of_thirty_are_called_something(aa: Store) -> None:
    """5 % false by design: more than five of thirty would happen once in 300 times."""
    ctx = context(aa, DAYS, EXPERIMENTS)
    results = [asked(n, ctx) for n in range(EXPERIMENTS)]
    assert sum(map(is_false, results)) <= 5
    for result in results[:3]:
        posted(result)


def test_the_figures_are_those_of_the_vector_core(store: Store) -> None:
    """Through SQL on each engine, against arrays: the same to nine digits."""
    of = crowd(PEOPLE)
    fill(store, of, 3)
    ctx = context(store, DAYS, 3)
    assert max(apart(of, number, ctx) for number in range(3)) < 1e-9
