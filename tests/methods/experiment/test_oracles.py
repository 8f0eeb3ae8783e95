"""Other people's software and a published experiment give the same numbers."""

import warnings

import pandas as pd
import pytest

from analytics.methods.experiment.arms import Kind
from analytics.methods.experiment.comparison import compare_moments
from analytics.methods.experiment.health import split_check
from analytics.methods.experiment.moments import Moments
from analytics.methods.experiment.regimes import SingleLook
from analytics.methods.experiment.verdict import Evidence, verdict
from tests.data import shared


@pytest.fixture(scope="module")
def tea():
    """tea-tasting, whose imports warn about others' deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tea_tasting
    return tea_tasting


@pytest.fixture(scope="module")
def users(tea):
    """4,000 made-up users with covariates, always the same."""
    return tea.make_users_data(rng=42, covariates=True).to_pandas()


@pytest.mark.parametrize(
    ("kind", "y", "x", "figures"),
    [
        ("mean", "revenue", None, (0.489083, 0.123070)),
        ("ratio", "orders", "sessions", (0.023305, 0.076238)),
        ("cuped", "revenue", "revenue_covariate", (0.731014, 0.006744)),
    ],
)
def test_means_ratios_and_cuped_are_those_of_tea_tasting(tea, users, kind: Kind, y, x, figures):
    metric = {
        "mean": lambda: tea.Mean(y),
        "ratio": lambda: tea.RatioOfMeans(y, x),
        "cuped": lambda: tea.Mean(y, x),
    }[kind]()
    oracle = tea.Experiment(m=metric).analyze(users)["m"]
    arms = [users[users["variant"] == v] for v in (0, 1)]
    found = compare_moments(kind, *(Moments.of(a[y], None if x is None else a[x]) for a in arms))
    assert found.difference == pytest.approx(oracle.effect_size, rel=1e-6)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-6)
    assert found.low == pytest.approx(oracle.effect_size_ci_lower, rel=1e-6)
    assert found.high == pytest.approx(oracle.effect_size_ci_upper, rel=1e-6)
    assert found.lift == pytest.approx(oracle.rel_effect_size, rel=1e-6)
    assert (found.difference, found.p) == pytest.approx(figures, abs=1e-6)


def test_cuped_is_nearly_the_regression_of_statsmodels(users):
    """The same adjustment as a regression, which spends one more parameter (0.4 ‰ apart)."""
    import statsmodels.api as sm

    arms = [users[users["variant"] == v] for v in (0, 1)]
    found = compare_moments(
        "cuped", *(Moments.of(a["revenue"], a["revenue_covariate"]) for a in arms)
    )
    design = sm.add_constant(users[["variant", "revenue_covariate"]])
    fit = sm.OLS(users["revenue"], design).fit(cov_type="HC1")
    assert found.difference == pytest.approx(fit.params["variant"], rel=1e-3)
    assert found.p == pytest.approx(fit.pvalues["variant"], rel=0.05)


def test_welch_is_that_of_statsmodels(users):
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    a, b = (users.loc[users["variant"] == v, "revenue"] for v in (0, 1))
    found = compare_moments("mean", Moments.of(a), Moments.of(b))
    oracle = CompareMeans(DescrStatsW(b), DescrStatsW(a))
    assert found.p == pytest.approx(oracle.ttest_ind(usevar="unequal")[1], rel=1e-6)
    interval = oracle.tconfint_diff(usevar="unequal")
    assert (found.low, found.high) == pytest.approx(interval, rel=1e-6)


@pytest.fixture(scope="module")
def cookie_cats():
    """90,189 players: gate at level 30 or 40."""
    return pd.read_csv(shared("cookie_cats/cookie_cats.csv.gz"))


def retention(frame, day):
    """Both arms' moments of having come back after `day` days."""
    arms = (frame.loc[frame["version"] == v, f"retention_{day}"] for v in ("gate_30", "gate_40"))
    return [Moments.of(arm.astype(float)) for arm in arms]


def test_cookie_cats_day_7_is_worse_at_the_later_gate(cookie_cats):
    """Published: 19.0 % → 18.2 %, p = 0.00155 pooled, 0.001557 by Welch; lift −6.9 % to −1.7 %."""
    from statsmodels.stats.proportion import proportions_ztest

    control, treatment = retention(cookie_cats, 7)
    found = compare_moments("proportion", control, treatment)
    pooled = proportions_ztest((control.positives, treatment.positives), (control.n, treatment.n))
    assert found.p == pytest.approx(0.001557, abs=1e-6)
    assert found.p == pytest.approx(pooled[1], abs=5e-6)
    assert found.difference == pytest.approx(-0.00820, abs=5e-6)
    assert (found.lift_low, found.lift_high) == pytest.approx((-0.06890, -0.01664), abs=5e-6)


def test_cookie_cats_day_1_is_undecided(cookie_cats):
    found = compare_moments("proportion", *retention(cookie_cats, 1))
    assert found.p == pytest.approx(0.0744, abs=5e-5)
    assert found.finding == "unclear"
    assert (found.lift_low, found.lift_high) == pytest.approx((-0.02745, 0.00131), abs=5e-6)


def test_cookie_cats_would_not_ship_and_its_split_is_warned_about(cookie_cats):
    control, treatment = retention(cookie_cats, 7)
    split = split_check((control.n, treatment.n))
    assert split.p == pytest.approx(0.0086, abs=5e-5)
    assert split.status == "warn"
    found = compare_moments("proportion", control, treatment)
    counts = (control.positives, treatment.positives)
    assert verdict(Evidence(found, SingleLook(), 14, conversions=counts)).state == "dont_ship"
