"""A/A experiments end to end: text, SQL, verdict, message; `benchmarks.aa` asks 200 of them."""

from collections.abc import Iterator

import numpy as np
import pytest

from analytics.methods.experiment.comparison import Comparison, compare_moments
from analytics.methods.experiment.moments import Moments, total
from analytics.outcomes import ORDERED
from analytics.trials import compared, moments_by, sighting_of, trial_of
from benchmarks.aa import DAYS, asked, context, crowd, dealt, fill, is_false, name_of, posted
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
    bought = np.isfinite(of.buys) & (of.buys < DAYS)
    for number in range(3):
        trial = trial_of(sighting_of(name_of(number), ctx), ctx, None)
        critical = trial.regime("treatment").critical()
        sums = moments_by(trial, [ORDERED], ctx)[ORDERED]
        found = compared(
            ORDERED, *(total(list(sums[v].values())) for v in trial.variants), critical
        )
        treated = dealt(PEOPLE, number)
        arms = [Moments.of(bought[side].astype(float), shift=0.0) for side in (~treated, treated)]
        plain = compare_moments("proportion", *arms, critical=critical)
        assert isinstance(found, Comparison)
        assert isinstance(plain, Comparison)
        for field in ("control", "treatment", "low", "high", "lift", "lift_low", "lift_high", "p"):
            assert getattr(found, field) == pytest.approx(getattr(plain, field), rel=1e-9)
