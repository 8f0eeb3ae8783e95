"""Each portable construct against plain Python, on every engine."""

import datetime as dt
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import sql
from storage.schema import EPOCH, Instant, events, orders
from storage.store import Store
from tests.conftest import ENGINES, fill

ZONES = ("Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe")

#: Instants at which a wrong floor or a lost microsecond shows.
HARD_INSTANTS = [
    EPOCH,
    EPOCH - dt.timedelta(microseconds=1),
    EPOCH + dt.timedelta(microseconds=999_999),
    dt.datetime(1969, 12, 31, 0, 0),
    dt.datetime(1969, 12, 30, 23, 59, 59, 999_999),
    dt.datetime(1900, 1, 1, 0, 0, 0, 1),
    dt.datetime(2026, 2, 28, 23, 59, 59, 999_999),
    dt.datetime(2024, 2, 29, 12, 0, 0, 500_000),
    dt.datetime(2400, 2, 29, 23, 59, 59, 999_999),
]


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str
) -> Iterator[dict[str, Store]]:
    """One store per engine for the whole module: property tests ask it many times."""
    folder = tmp_path_factory.mktemp("stores")
    opened = {
        "duckdb": Store.open(f"duckdb:///{folder / 'store.duckdb'}"),
        "sqlite": Store.open(f"sqlite:///{folder / 'store.sqlite'}"),
        "postgresql": Store.open(postgres_url),
    }
    yield opened
    for store in opened.values():
        store.close()


def values_of(store: Store, *expressions: Any) -> tuple[Any, ...]:
    """What constant expressions come to."""
    labelled = [e.label(f"c{i}") for i, e in enumerate(expressions)]
    return tuple(store.row(sa.select(*labelled)).values())


def instant(at: dt.datetime) -> sa.BindParameter[Any]:
    """A bound instant."""
    return sa.literal(at, Instant())


def py_local_day(at: dt.datetime, zone: str) -> int:
    """The local date of a naive UTC instant, as days since 1970-01-01."""
    there = at.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).date()
    return (there - EPOCH.date()).days


@pytest.fixture
def clocked(store: Store) -> Store:
    """A store whose events happened at the hard instants, oldest last."""
    rows = [
        {"event_id": str(i), "person_id": "p", "at": at, "name": "visit"}
        for i, at in enumerate(HARD_INSTANTS)
    ]
    fill(store, events=rows)
    return store


def in_order(store: Store, expression: Any) -> list[Any]:
    """An expression over the events, in the order they were filled."""
    return store.column(
        sa.select(expression.label("v")).order_by(sa.cast(events.c.event_id, sa.Integer))
    )


def test_epoch_days_and_seconds_are_floored_before_and_after_1970(clocked: Store) -> None:
    second = dt.timedelta(seconds=1)
    assert in_order(clocked, sql.epoch_s(events.c.at)) == [
        (at - EPOCH) // second for at in HARD_INSTANTS
    ]
    assert in_order(clocked, sql.epoch_day(events.c.at)) == [
        (at - EPOCH).days for at in HARD_INSTANTS
    ]


def test_an_instant_comes_back_to_the_microsecond(clocked: Store) -> None:
    assert in_order(clocked, events.c.at) == HARD_INSTANTS


@given(at=st.datetimes(dt.datetime(1800, 1, 1), dt.datetime(2500, 1, 1)))
@settings(max_examples=60, deadline=None)
def test_any_instant_has_the_same_day_and_second_on_every_engine(
    stores: dict[str, Store], at: dt.datetime
) -> None:
    want = ((at - EPOCH).days, (at - EPOCH) // dt.timedelta(seconds=1), at)
    for store in stores.values():
        assert (
            values_of(
                store,
                sql.epoch_day(instant(at)),
                sql.epoch_s(instant(at)),
                instant(at),
            )
            == want
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("zone", ZONES)
def test_the_local_day_is_right_in_each_quarter_hour_around_a_change_of_clocks(
    stores: dict[str, Store], engine: str, zone: str
) -> None:
    """2026's changes, and the 36 hours around them, a second before each quarter hour too."""
    info = ZoneInfo(zone)
    hours = [dt.datetime(2026, 1, 1) + dt.timedelta(hours=h) for h in range(365 * 24)]
    offsets = [h.replace(tzinfo=dt.UTC).astimezone(info).utcoffset() for h in hours]
    changes = [h for h, a, b in zip(hours[1:], offsets, offsets[1:], strict=False) if a != b]
    assert len(changes) == 2
    quarter = dt.timedelta(minutes=15)
    moments = [
        change + k * quarter - early
        for change in changes
        for k in range(-72, 73)
        for early in (dt.timedelta(0), dt.timedelta(microseconds=1))
    ]
    rows = [
        {"event_id": f"{zone} {i}", "person_id": "p", "at": at, "name": zone}
        for i, at in enumerate(moments)
    ]
    fill(stores[engine], events=rows)
    day = sql.local_day(events.c.at, zone).label("day")
    found = stores[engine].rows(sa.select(events.c.at, day).where(events.c.name == zone))
    assert len(found) == len(moments)
    assert {(r["at"], r["day"]) for r in found} == {(m, py_local_day(m, zone)) for m in moments}


@given(
    at=st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2037, 1, 1)),
    zone=st.sampled_from((*ZONES, "Africa/Monrovia", "Asia/Kathmandu", "UTC")),
)
@settings(max_examples=80, deadline=None)
def test_any_instant_has_the_same_local_day_on_every_engine(
    stores: dict[str, Store], at: dt.datetime, zone: str
) -> None:
    for store in stores.values():
        assert values_of(store, sql.local_day(instant(at), zone)) == (py_local_day(at, zone),)


@given(a=st.integers(0, 2**62), b=st.integers(1, 2**40))
@settings(max_examples=50, deadline=None)
def test_integers_divide_to_integers(stores: dict[str, Store], a: int, b: int) -> None:
    for store in stores.values():
        got = values_of(store, sql.idiv(sa.literal(a), sa.literal(b)), sql.idiv(a, b))
        assert got == (a // b, a // b)
        assert all(type(v) is int for v in got)


def test_division_by_zero_is_null(store: Store) -> None:
    assert values_of(store, sql.idiv(sa.literal(7), sa.literal(0))) == (None,)


def test_an_argument_with_an_operator_keeps_its_brackets(store: Store) -> None:
    """1 + 6 divided by 2 is 3, not 1 + 3."""
    one, six = sa.literal(1), sa.literal(6)
    assert values_of(store, sql.idiv(one + six, sa.literal(2))) == (3,)
    assert values_of(store, sql.idiv(sa.literal(7), one + one)) == (3,)


def sale(order_id: str, amount_cents: int, **more: Any) -> dict[str, Any]:
    """An order of an amount."""
    return {
        "order_id": order_id,
        "ordered_at": EPOCH,
        "kind": "sale",
        "amount_cents": amount_cents,
        **more,
    }


def test_sums_over_no_rows_are_null_and_counts_are_zero(store: Store) -> None:
    amount = orders.c.amount_cents
    assert store.row(
        sa.select(
            sql.isum(amount).label("i"),
            sql.dsum(amount).label("d"),
            sql.sum_of_squares(amount).label("q"),
            sql.icount().label("n"),
        )
    ) == {"i": None, "d": None, "q": None, "n": 0}


def test_sums_keep_their_type_and_every_digit(store: Store) -> None:
    """2**62 and 1 do not fit in a double: an integer sum must not pass through one."""
    fill(store, orders=[sale("a", 2**62), sale("b", 1), sale("c", -3)])
    amount = orders.c.amount_cents
    table = store.arrow(
        sa.select(
            sql.isum(amount).label("i"),
            sql.dsum(amount).label("d"),
            sql.icount().label("n"),
            sql.dbl(sql.isum(amount)).label("x"),
        )
    )
    assert [str(t) for t in table.schema.types] == ["int64", "double", "int64", "double"]
    assert table.to_pylist() == [{"i": 2**62 - 2, "d": 2.0**62, "n": 3, "x": 2.0**62}]


def test_a_double_divides_with_its_fraction(store: Store) -> None:
    assert values_of(store, sql.dbl(sa.literal(7)) / 2) == (3.5,)


def test_the_sum_of_squares_of_large_amounts_does_not_overflow(store: Store) -> None:
    fill(store, orders=[sale("a", 2**40), sale("b", -3)])
    got = store.row(sa.select(sql.sum_of_squares(orders.c.amount_cents).label("v")))["v"]
    assert got == pytest.approx(2.0**80 + 9, rel=1e-15)


@pytest.mark.parametrize("x", [0, 1, 99, 10**12, 0.5])
def test_natural_log1p_is_that_of_python(store: Store, x: float) -> None:
    (got,) = values_of(store, sql.natural_log1p(sa.literal(x)))
    assert got == pytest.approx(math.log1p(x), rel=1e-14)


def py_bucket(key: str, n: int) -> int:
    """The first 8 hexadecimal digits of the MD5, modulo n."""
    return int(hashlib.md5(key.encode()).hexdigest()[:8], 16) % n


def test_a_bucket_is_the_md5_worked_by_hand(store: Store) -> None:
    """md5("abc") begins 90015098, md5("") begins d41d8cd9 (RFC 1321): no sign is lost."""
    assert values_of(store, sql.bucket(sa.literal("abc"), 100)) == (0x90015098 % 100,)
    assert values_of(store, sql.bucket(sa.literal(""), 100)) == (0xD41D8CD9 % 100,)
    assert values_of(store, sql.bucket(sa.null(), 100)) == (None,)


PRINTABLE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20
)


@given(key=PRINTABLE, n=st.integers(1, 10_000))
@settings(max_examples=50, deadline=None)
def test_any_text_falls_into_the_same_bucket_on_every_engine(
    stores: dict[str, Store], key: str, n: int
) -> None:
    for store in stores.values():
        assert values_of(store, sql.bucket(sa.literal(key), n)) == (py_bucket(key, n),)


DOCUMENT = {
    "plain": "x",
    "quotes": 'it\'s "so" \\ %s $1',
    "größe": "größer ✓ 😀",
    "number": 12,
    "big": 123456789012345678,
    "fraction": 1.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "empty": "",
    "a.b": "dotted",
    "$.x": "dollar",
    "0": "digit",
    "a/b~c": "slash",
    'say "hi"': "quoted",
    "[0]": "bracket",
    "true text": "true",
}


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("key", [*DOCUMENT, "missing", "", "a"])
def test_json_text_reads_a_key_whatever_is_in_it(store: Store, key: str, ascii_only: bool) -> None:
    document = json.dumps(DOCUMENT, ensure_ascii=ascii_only)
    value = DOCUMENT.get(key)
    want = value if value is None or isinstance(value, str) else json.dumps(value)
    assert values_of(store, sql.json_text(sa.literal(document), key)) == (want,)


def test_json_text_of_null_is_null(store: Store) -> None:
    assert values_of(store, sql.json_text(sa.cast(sa.null(), sa.Text), "a")) == (None,)


@given(document=st.dictionaries(PRINTABLE, PRINTABLE | st.booleans() | st.integers(-9, 9)))
@settings(max_examples=40, deadline=None)
def test_any_json_object_is_read_alike(
    stores: dict[str, Store], document: dict[str, str | bool | int]
) -> None:
    text = json.dumps(document)
    want = tuple(v if isinstance(v, str) else json.dumps(v) for v in document.values())
    for store in stores.values():
        reads = [sql.json_text(sa.literal(text), key) for key in document]
        assert not reads or values_of(store, *reads) == want


HOSTILE = (
    "it's", '"', "\\", "\\'", "50 %", "%s", "%(x)s", "%%", "$1", "$$", ":name", "?", "{0}", "{",
    "--", "/* */", "; DROP TABLE orders", "\x01\x1f\x7f", "\t\r\n", "ünïcode ✓ 😀", "\u202e", "",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_bound_text_is_only_ever_a_value(store: Store, text: str) -> None:
    fill(store, orders=[sale("mine", 1, country=text), sale("other", 2, country="elsewhere")])
    same = orders.c.country == text
    assert store.rows(
        sa.select(orders.c.order_id, orders.c.country, sa.literal(text).label("said")).where(same)
    ) == [{"order_id": "mine", "country": text, "said": text}]
    assert store.column(
        sa.select(orders.c.order_id).where(orders.c.country.in_([text, "nowhere"]))
    ) == ["mine"]
    wanted = orders.c.country.contains(text, autoescape=True)
    found = store.column(sa.select(orders.c.order_id).where(wanted).order_by("order_id"))
    assert found == (["mine"] if text else ["mine", "other"])


def test_a_list_of_instants_is_compared_as_instants(clocked: Store) -> None:
    """Each value of an IN list is written as the engine keeps instants."""
    wanted = [HARD_INSTANTS[0], HARD_INSTANTS[4], dt.datetime(2001, 1, 1)]
    assert clocked.column(
        sa.select(events.c.event_id).where(events.c.at.in_(wanted)).order_by(events.c.event_id)
    ) == ["0", "4"]
    assert clocked.column(sa.select(events.c.event_id).where(events.c.at.in_([]))) == []


def test_an_expression_with_bound_values_can_be_grouped_by(store: Store) -> None:
    """As long as it is the same object: two equal ones have two values, and engines refuse that."""
    fill(store, orders=[sale(str(i), i) for i in range(50)])
    for expression, by_hand in (
        (sql.bucket(orders.c.order_id, 3), lambda i: py_bucket(str(i), 3)),
        (sql.idiv(orders.c.amount_cents, 20), lambda i: i // 20),
        (sql.local_day(orders.c.ordered_at, "Europe/Berlin"), lambda _: 0),
    ):
        counted = sa.select(expression.label("k"), sql.icount().label("n"))
        found = store.rows(counted.group_by(expression).order_by(expression))
        want = Counter(by_hand(i) for i in range(50))
        assert [(r["k"], r["n"]) for r in found] == sorted(want.items())


FRACTIONS = {"lowest": 0.0, "p10": 0.1, "median": 0.5, "p95": 0.95, "highest": 1.0}


def quantiles(store: Store, groups: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    """Percentiles per country of orders of these amounts."""
    pairs = [(country, v) for country, values in groups.items() for v in values]
    chosen = sa.union_all(
        *(
            sa.select(sa.literal(c).label("country"), sa.literal(v).label("amount_cents"))
            for c, v in pairs
        )
    ).subquery()
    query = sql.percentiles(
        chosen, ("country",), "amount_cents", FRACTIONS, store.engine.dialect.name
    )
    return {r.pop("country"): r for r in store.rows(query)}


def near_numpy(found: dict[str, dict[str, float]], groups: dict[str, list[int]]) -> None:
    """Fails where a percentile is off numpy's by more than 1e-12 of the value."""
    assert found.keys() == groups.keys()
    for country, values in groups.items():
        got = found[country]
        assert got["n"] == len(values)
        for name, fraction in FRACTIONS.items():
            want = float(np.quantile(values, fraction))
            assert got[name] == pytest.approx(want, rel=1e-12, abs=1e-9), (country, name)


def test_percentiles_are_numpys_with_ties_and_single_values(store: Store) -> None:
    groups = {
        "one": [7],
        "two": [1, 2],
        "ties": [5, 5, 5, 9, 9],
        "same": [4, 4, 4],
        "signs": [-10, 0, 10, 3],
        "long": [(i * 7919) % 1009 for i in range(300)],
    }
    near_numpy(quantiles(store, groups), groups)


@given(
    groups=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=12),
        min_size=1,
    )
)
@settings(max_examples=30, deadline=None)
def test_percentiles_of_any_numbers_are_numpys(
    stores: dict[str, Store], groups: dict[str, list[int]]
) -> None:
    for store in stores.values():
        near_numpy(quantiles(store, groups), groups)


def test_percentiles_leave_nulls_out_and_can_stand_twice_in_one_query(store: Store) -> None:
    fill(
        store,
        orders=[sale("a", 1, country="DE"), sale("b", 3, country="DE"), sale("c", 9)],
        ratings=[
            {"rating_id": "r", "at": EPOCH, "kind": "nps", "score": 9, "item_id": "i"},
        ],
    )
    dialect = store.engine.dialect.name
    big = sa.case((orders.c.amount_cents > 1, orders.c.amount_cents)).label("v")
    by_country = sa.select(orders.c.country.label("k"), big).subquery()
    halves = [
        sql.percentiles(by_country, ("k",), "v", {"half": fraction}, dialect).subquery()
        for fraction in (0.5, 1.0)
    ]
    both = sa.union_all(*(sa.select(h.c.k, h.c.n, h.c.half) for h in halves))
    rows = sorted(store.rows(both), key=lambda r: r["k"] or "")
    assert rows == [{"k": None, "n": 1, "half": 9.0}] * 2 + [{"k": "DE", "n": 1, "half": 3.0}] * 2


def test_constructs_are_compiled_the_same_each_time_for_the_statement_cache() -> None:
    """Two equal expressions have one cache key; other arguments have another's values only."""
    first, second = sql.idiv(orders.c.amount_cents, 2), sql.idiv(orders.c.amount_cents, 3)
    assert sa.select(first)._generate_cache_key() == sa.select(second)._generate_cache_key()


def test_what_duckdb_keeps_for_itself_is_quoted(tmp_path: Path) -> None:
    store = Store.open("duckdb:///:memory:")
    words = ["at", "by", "pivot", "qualify", "lambda", "semi", "order", "columns", "struct"]
    rows = store.rows(sa.select(*(sa.literal(i).label(w) for i, w in enumerate(words))))
    assert rows == [{w: i for i, w in enumerate(words)}]
    store.close()
