"""Experiments in which nothing happens, asked end to end: text, SQL, verdict, message.

    python -m benchmarks.aa [experiments] [people] [--open-ended] [--last] [--store URL]

Each experiment deals the same people out anew, by chance, so whatever it finds is false. Each is
registered for 14 days and asked on the morning of every day from the 7th on, as a keen manager
would; one false verdict at any of its looks makes it a false one. A sound product has at most 18
in 200 (5 % by chance, with the 99 % of the binomial). The same looks judged by a plain test at
5 % show what it saves them from. The last look of each is made a Slack message, and its figures
are held to those of the vector core, which reads arrays: alike to 1e-9.
`--open-ended` asks each without its plan as well; `--last` looks at the planned end only; `--store`
names an empty store to fill, on another engine than DuckDB.
"""

import dataclasses
import datetime as dt
import sys
import tempfile
import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from scipy import stats

from analytics.catalog import Catalog, Plan
from analytics.command import Context
from analytics.methods.experiment.comparison import Comparison, compare_moments
from analytics.methods.experiment.moments import Moments, total
from analytics.outcomes import ORDERED
from analytics.result import Result
from analytics.trials import compared, moments_by, sighting_of, trial_of
from bot.dispatch import answer
from bot.slack.blocks import ladder
from bot.slack.sendable import assert_sendable
from storage.engines import arrow_type
from storage.schema import metadata
from storage.store import Store

START = dt.date(2026, 9, 1)
DAYS = 14
LOOKS = range(7, DAYS + 1)
BUYERS = 0.15
MOST_FALSE = {200: 18}


@dataclass(frozen=True)
class Crowd:
    """People, when each comes first (days since the start), and their one order: day and cents."""

    comes: np.ndarray
    buys: np.ndarray
    cents: np.ndarray


def crowd(people: int, seed: int = 20_260_901) -> Crowd:
    """People who come over the two weeks; some order, with log-normal amounts."""
    draws = np.random.default_rng(seed)
    comes = draws.uniform(0, DAYS, people)
    buys = np.where(draws.random(people) < BUYERS, comes + draws.exponential(0.5, people), np.inf)
    return Crowd(comes, buys, np.exp(draws.normal(8.0, 1.0, people)).astype(np.int64) + 1)


def dealt(people: int, number: int) -> np.ndarray:
    """Who is treated in an experiment: a fair coin each."""
    return np.random.default_rng([7, number]).random(people) < 0.5


def name_of(number: int) -> str:
    """`aa_007`."""
    return f"aa_{number:03}"


def instants(days: np.ndarray) -> np.ndarray:
    """Days since the start as UTC instants, in whole seconds."""
    return np.datetime64(START, "s") + (days * 86_400).astype("timedelta64[s]")


def fill(store: Store, of: Crowd, experiments: int) -> None:
    """The orders of the crowd, and the exposures of every experiment."""
    people = len(of.comes)
    ids = pa.array([f"p{i:06}" for i in range(people)])
    bought = np.flatnonzero(np.isfinite(of.buys))
    write(
        store,
        "orders",
        {
            "order_id": pa.array([f"o{i:06}" for i in bought]),
            "person_id": ids.take(pa.array(bought)),
            "ordered_at": pa.array(instants(of.buys[bought]).astype("datetime64[us]")),
            "kind": pa.repeat("sale", len(bought)),
            "amount_cents": pa.array(of.cents[bought]),
        },
    )
    for number in range(experiments):
        treated = dealt(people, number)
        write(
            store,
            "exposures",
            {
                "experiment": pa.repeat(name_of(number), people),
                "person_id": ids,
                "variant": pa.array(np.where(treated, "treatment", "control").astype(object)),
                "exposed_at": pa.array(instants(of.comes).astype("datetime64[us]")),
            },
        )


def write(store: Store, table: str, columns: dict[str, pa.Array]) -> None:
    """Columns into a table; those that are left out are null."""
    rows = len(next(iter(columns.values())))
    columns = {**columns, "source": pa.repeat("made up", rows)}
    full = {
        c.name: columns.get(c.name, pa.nulls(rows)).cast(arrow_type(c.type))
        for c in metadata.tables[table].columns
    }
    with store.engine.writing() as writer:
        writer.append(table, pa.table(full))


def context(store: Store, day: int, experiments: int, *, planned: bool = True) -> Context:
    """The morning after so many days."""
    end = START + dt.timedelta(days=DAYS - 1)
    plans = tuple(Plan(name_of(n), START, end) for n in range(experiments)) if planned else ()
    now = dt.datetime.combine(START + dt.timedelta(days=day), dt.time(9), dt.UTC)
    catalog = dataclasses.replace(Catalog(), plans=plans)
    return Context(store=store, now=now, zone=ZoneInfo("UTC"), currency="EUR", catalog=catalog)


def asked(number: int, ctx: Context) -> Result:
    """The answer."""
    return answer(f"ab {name_of(number)}", ctx).result


def posted(result: Result) -> None:
    """As far as messages that Slack would take."""
    for message in ladder(result):
        assert_sendable({"channel": "C0000000001", **message.payload})


def is_false(result: Result) -> bool:
    """A verdict that says something happened."""
    said = result.headline.split(": ", 1)[1]
    return said.startswith(("ship", "don't ship"))


FIGURES = ("control", "treatment", "low", "high", "lift", "lift_low", "lift_high", "p")


def apart(of: Crowd, number: int, ctx: Context) -> float:
    """How far the figures through SQL are from the vector core's, relatively, at most."""
    trial = trial_of(sighting_of(name_of(number), ctx), ctx, None)
    critical = trial.regime("treatment").critical()
    sums = moments_by(trial, [ORDERED], ctx)[ORDERED]
    sides = (total(list(sums[v].values())) for v in trial.variants)
    found = compared(ORDERED, *sides, critical)
    bought = np.isfinite(of.buys) & (of.buys < DAYS)
    treated = dealt(len(of.comes), number)
    arms = [Moments.of(bought[side].astype(float), shift=0.0) for side in (~treated, treated)]
    plain = compare_moments("proportion", *arms, critical=critical)
    if not isinstance(found, Comparison) or not isinstance(plain, Comparison):
        raise TypeError(f"{name_of(number)}: {found}, {plain}")
    pairs = [(getattr(found, f), getattr(plain, f)) for f in FIGURES]
    return max(abs(ours - theirs) / max(abs(theirs), 1e-12) for ours, theirs in pairs)


def plain_p(of: Crowd, number: int, day: int) -> float:
    """The two-proportion test of whoever came so far."""
    seen, bought = of.comes < day, of.buys < day
    treated = dealt(len(of.comes), number)
    groups = [seen & ~treated, seen & treated]
    yes = [int((g & bought).sum()) for g in groups]
    n = [int(g.sum()) for g in groups]
    return float(stats.chi2_contingency([yes, [n[0] - yes[0], n[1] - yes[1]]], False)[1])


def main() -> None:
    """Ask them all, and count."""
    kinds = ["planned", *(["open-ended"] if "--open-ended" in sys.argv else [])]
    sizes = [int(a) for a in sys.argv[1:] if a.isdigit()]
    experiments, people = (*sizes, *(200, 20_000)[len(sizes) :])
    of = crowd(people)
    looks = LOOKS[-1:] if "--last" in sys.argv else LOOKS
    farthest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        url = f"duckdb:///{folder}/aa.duckdb"
        if "--store" in sys.argv:
            url = sys.argv[sys.argv.index("--store") + 1]
        store = Store.open(url)
        fill(store, of, experiments)
        false: dict[str, set[int]] = {kind: set() for kind in (*kinds, "plain test")}
        asks, started = 0, time.perf_counter()
        for day in looks:
            contexts = {
                kind: context(store, day, experiments, planned=kind == "planned") for kind in kinds
            }
            for number in range(experiments):
                for kind, ctx in contexts.items():
                    asks += 1
                    result = asked(number, ctx)
                    if is_false(result):
                        false[kind].add(number)
                    if day == DAYS:
                        posted(result)
                if plain_p(of, number, day) < 0.05:
                    false["plain test"].add(number)
                if day == DAYS:
                    farthest = max(farthest, apart(of, number, contexts["planned"]))
        seconds = (time.perf_counter() - started) / asks
        store.close()
    print(f"{experiments} A/A experiments of {people:,} people, {len(looks)} daily looks each;")
    print(f"figures within {farthest:.1e} of the vector core's")
    print(f"{seconds:.3f} s an ask, from text to message")
    for kind, numbers in false.items():
        print(f"  {kind:<12} {len(numbers):>4} false verdicts")
    most = MOST_FALSE.get(experiments)
    if most is not None and len(false["planned"]) > most:
        sys.exit(f"more than {most} false verdicts")
    if farthest > 1e-9:
        sys.exit("the figures differ from the vector core's")


if __name__ == "__main__":
    main()
