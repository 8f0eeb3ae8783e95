"""The shipped demo: the real file's published facts, the categories, and what is planted."""

import csv
import hashlib
import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from storage.demo import planted, real
from storage.demo.items import FEES, OTHER, RULES_FILE, categorise, comparable, is_product, items
from storage.demo.simulate import FUNNEL, manners, read_shop, simulate
from storage.demo.sources import SOURCES
from storage.engines import arrow_type
from storage.schema import metadata


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return real.raw_lines()


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return real.lines()


@pytest.fixture(scope="module")
def made_up(lines: pd.DataFrame) -> dict[str, pa.Table]:
    return simulate(lines)


@pytest.fixture(scope="module")
def events(made_up: dict[str, pa.Table]) -> pd.DataFrame:
    return made_up["events"].to_pandas()


@pytest.fixture(scope="module")
def sessions(events: pd.DataFrame) -> pd.DataFrame:
    """One row per session: its first event, the local day, and which steps it reached."""
    first = events.drop_duplicates("session_id").set_index("session_id")
    local = first["at"].dt.tz_localize("UTC").dt.tz_convert(real.ZONE)
    reached = {
        f"did_{name}": first.index.isin(events.loc[events["name"] == name, "session_id"])
        for name in FUNNEL
    }
    return first.assign(day=local.dt.date, **reached)


@pytest.fixture(scope="module")
def sales(lines: pd.DataFrame) -> pd.DataFrame:
    """One row per sale of a known person, with its instant in UTC."""
    orders = lines[(lines["kind"] == "sale") & lines["person_id"].notna()]
    orders = orders.drop_duplicates("order_id")
    return orders.assign(ordered_at=real.utc(orders["at"]))


# --- the real file ---------------------------------------------------------------------------


def test_the_file_is_the_one_that_is_attributed():
    digest = hashlib.sha256(real.FILE.read_bytes()).hexdigest()
    assert digest in real.FILE.with_name("ATTRIBUTION.md").read_text(encoding="utf-8")


def test_the_file_has_the_published_counts(raw: pd.DataFrame):
    assert raw.shape == (541_909, 8)
    assert raw["CustomerID"].nunique() == 4_372
    assert raw["InvoiceNo"].nunique() == 25_900
    assert raw["StockCode"].nunique() == 4_070
    assert raw["Country"].nunique() == 38
    assert raw["CustomerID"].isna().sum() == 135_080
    assert raw["Description"].isna().sum() == 1_454
    assert raw.duplicated().sum() == 5_268
    assert raw["InvoiceNo"].str.startswith("C").sum() == 9_288


def test_adjustments_and_lines_without_a_price_are_turned_away(raw: pd.DataFrame):
    assert real.rejection(raw).value_counts().to_dict() == {
        "": 539_391,
        "no price": 2_515,
        "adjustment": 3,
    }


@pytest.mark.parametrize(
    ("kind", "of_lines", "orders", "people", "pence", "orders_known", "pence_known"),
    [
        ("sale", 530_103, 19_959, 4_338, 1_065_562_248, 18_532, 891_140_790),
        ("return", 9_288, 3_836, 1_589, -89_681_249, 3_654, -61_134_209),
    ],
)
def test_totals_by_the_stated_rules(
    lines: pd.DataFrame, kind, of_lines, orders, people, pence, orders_known, pence_known
):
    of_kind = lines[lines["kind"] == kind]
    known = of_kind[of_kind["person_id"].notna()]
    assert len(of_kind) == of_lines
    assert of_kind["order_id"].nunique() == orders
    assert of_kind["person_id"].nunique() == people
    assert of_kind["amount_cents"].sum() == pence
    assert known["order_id"].nunique() == orders_known
    assert known["amount_cents"].sum() == pence_known


def test_the_widely_published_revenue_counts_one_adjustment_more(raw: pd.DataFrame):
    positive = raw[(raw["Quantity"] > 0) & (raw["UnitPrice"] > 0)]
    revenue = (positive["Quantity"] * positive["UnitPrice"]).sum()
    assert len(positive) == 530_104
    assert round(revenue, 2) == 10_666_684.54
    assert round(revenue - 11_062.06, 2) == 10_655_622.48


def test_the_sign_of_the_quantity_tells_sales_from_returns(lines: pd.DataFrame):
    sold = lines["kind"] == "sale"
    assert (lines.loc[sold, "quantity"] > 0).all()
    assert (lines.loc[~sold, "quantity"] < 0).all()


def test_lines_are_numbered_within_their_invoice(lines: pd.DataFrame):
    assert not lines.duplicated(["order_id", "line_no"]).any()
    numbers = lines.groupby("order_id")["line_no"].agg(["min", "max", "size"])
    assert (numbers["min"] == 1).all()
    assert (numbers["max"] == numbers["size"]).all()


def test_summer_time_is_taken_off():
    local = pd.Series(pd.to_datetime(["2011-01-10 09:00", "2011-07-10 09:00"]))
    assert (
        real.utc(local).tolist()
        == pd.to_datetime(["2011-01-10 09:00", "2011-07-10 08:00"]).to_pydatetime().tolist()
    )


def test_a_person_is_first_seen_at_the_first_invoice(lines: pd.DataFrame):
    people = real.people(lines).to_pandas().set_index("person_id")
    assert len(people) == 4_371
    assert people.loc["17850", "first_seen_at"] == pd.Timestamp("2010-12-01 08:26")
    assert people.loc["17850", "country"] == "United Kingdom"
    assert people["channel"].isna().all()


# --- categories ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("LUNCH BAG RED RETROSPOT", "bags"),
        ("JUMBO BAG 50'S CHRISTMAS", "bags"),
        ("WHITE HANGING HEART T-LIGHT HOLDER", "candles"),
        ("REGENCY CAKESTAND 3 TIER", "baking"),
        ("60 CAKE CASES VINTAGE CHRISTMAS", "baking"),
        ("HOT WATER BOTTLE KEEP CALM", "warmers"),
        ("HAND WARMER OWL DESIGN", "warmers"),
        ("PAPER CHAIN KIT 50'S CHRISTMAS", "christmas"),
        ("ALARM CLOCK BAKELIKE RED", "clocks"),
        ("SPACEBOY LUNCH BOX", "kitchen"),
        ("ROSES REGENCY TEACUP AND SAUCER", "cups"),
        ("SOLDIERS EGG CUP", "tableware"),
        ("GARDENERS KNEELING PAD CUP OF TEA", "garden"),
        ("BAG 125G SWIRLY MARBLES", "toys"),
        ("TEA BAG PLATE RED RETROSPOT", "tableware"),
        ("SET OF 4 KNICK KNACK TINS DOILY", "storage"),
        ("WALL ART BICYCLE SAFETY", "signs"),
        ("DOORMAT RED RETROSPOT", "textiles"),
        ("RABBIT NIGHT LIGHT", "lighting"),
        ("VINTAGE SNAP CARDS", "toys"),
        ("SPACEBOY BIRTHDAY CARD", "cards"),
        ("RED RETROSPOT WRAP", "gift wrap"),
        ("BAGPIPE", OTHER),  # whole words only
    ],
)
def test_an_item_belongs_to_the_first_rule_that_fits(name: str, category: str):
    assert categorise([name]) == [category]


def test_plural_and_signs_do_not_matter():
    assert comparable("Set/6 T-Lights, boxes & glasses") == " SET 6 T LIGHT BOX GLASS "


def test_categories_are_plain_words_that_can_be_typed():
    with RULES_FILE.open(encoding="utf-8", newline="") as file:
        categories = {row["category"] for row in csv.DictReader(file)}
    assert 18 <= len(categories) <= 28
    assert all(c == c.lower() and c.replace(" ", "").isalpha() for c in categories)
    assert all(len(c.split()) <= 2 for c in categories)


def test_every_rule_is_the_first_to_fit_some_item(lines: pd.DataFrame):
    with RULES_FILE.open(encoding="utf-8", newline="") as file:
        patterns = [comparable(row["pattern"]) for row in csv.DictReader(file)]
    assert len(set(patterns)) == len(patterns)
    names = [comparable(n) for n in items(lines)["name"].to_pylist()]
    used = {next((p for p in patterns if p in name), None) for name in names}
    assert set(patterns) - used == set()


def test_nearly_every_product_line_has_a_category(lines: pd.DataFrame):
    table = items(lines).to_pandas().set_index("item_id")
    sold = lines[(lines["kind"] == "sale") & lines["item_id"].map(table["is_product"])]
    named = sold["item_id"].map(table["category"]) != OTHER
    assert named.mean() > 0.99
    assert sold.loc[named, "amount_cents"].sum() / sold["amount_cents"].sum() > 0.99
    bags = sold[sold["item_id"].map(table["category"]) == "bags"]
    assert bags["item_id"].nunique() > 100
    assert bags["order_id"].nunique() > 8_000


def test_fees_and_postage_are_no_products(lines: pd.DataFrame):
    table = items(lines).to_pandas().set_index("item_id")
    assert not is_product("POST")
    assert is_product("85123A")
    assert is_product("DCGSSBOY")  # "BOYS PARTY BAG"
    fees = table[~table["is_product"]]
    assert set(fees["category"]) == {FEES}
    assert {"POST", "M", "C2", "GIFT_0001_20", "23574"} <= set(fees.index)
    assert FEES not in set(table[table["is_product"]]["category"])


def test_an_item_has_its_most_frequent_name(lines: pd.DataFrame):
    table = items(lines).to_pandas().set_index("item_id")
    assert table.loc["85123A", "name"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert table.index.is_unique
    assert table.index.str.upper().tolist() == table.index.tolist()
    assert table["name"].notna().all()


# --- the simulation --------------------------------------------------------------------------


def test_the_simulation_repeats_byte_for_byte(lines: pd.DataFrame, made_up: dict[str, pa.Table]):
    again = simulate(lines)
    assert {k: digest(t) for k, t in again.items()} == {k: digest(t) for k, t in made_up.items()}


def digest(table: pa.Table) -> str:
    """A digest of the table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def test_tables_have_the_columns_of_the_schema(made_up: dict[str, pa.Table], lines: pd.DataFrame):
    tables = [*made_up.items(), ("items", items(lines)), ("people", real.people(lines))]
    for name, table in tables:
        schema = metadata.tables[name]
        assert table.schema.names == [c.name for c in schema.columns], name
        assert table.schema.types == [arrow_type(c.type) for c in schema.columns], name
        for column in schema.columns:
            assert column.nullable or table[column.name].null_count == 0, (name, column.name)
        keys = table.select([c.name for c in schema.primary_key]).to_pandas()
        assert not keys.duplicated().any(), name


def test_every_made_up_row_says_so(made_up: dict[str, pa.Table]):
    described = {(s.entity, s.source): s for s in SOURCES}
    for name, table in made_up.items():
        (source,) = table["source"].unique().to_pylist()
        assert source.startswith("simulated ")
        assert described[name, source].simulated
    assert not any(s.simulated for s in SOURCES if s.source == real.SOURCE)
    assert all(s.attribution for s in SOURCES if not s.simulated)


def test_numbers_in_planted_md_are_the_real_ones(made_up: dict[str, pa.Table]):
    words = Path(planted.__file__).with_name("PLANTED.md").read_text(encoding="utf-8")
    for table in made_up.values():
        assert f"{table.num_rows:,}" in words


def test_every_purchase_is_a_real_order_at_its_own_instant(
    events: pd.DataFrame, sales: pd.DataFrame
):
    bought = events[events["name"] == "purchase"].merge(
        sales, on="order_id", how="left", suffixes=("", "_real")
    )
    assert len(bought) == 18_399
    assert bought["order_id"].is_unique
    assert (bought["at"] == bought["ordered_at"]).all()
    assert (bought["person_id"] == bought["person_id_real"]).all()
    assert events.loc[events["name"] != "purchase", "order_id"].isna().all()


def test_items_of_a_buying_session_are_in_the_order(events: pd.DataFrame, lines: pd.DataFrame):
    order = events.dropna(subset="order_id").set_index("session_id")["order_id"]
    seen = events[events["item_id"].notna() & events["session_id"].isin(order.index)]
    pairs = pd.MultiIndex.from_arrays([seen["session_id"].map(order), seen["item_id"]])
    assert pairs.isin(pd.MultiIndex.from_frame(lines[["order_id", "item_id"]])).all()


def test_the_funnel_only_narrows(sessions: pd.DataFrame):
    for wider, narrower in itertools.pairwise(FUNNEL):
        assert (sessions[f"did_{wider}"] | ~sessions[f"did_{narrower}"]).all()
        assert sessions[f"did_{wider}"].sum() > sessions[f"did_{narrower}"].sum()


def test_sessions_are_of_one_person_and_shorter_than_half_an_hour(events: pd.DataFrame):
    of_session = events.groupby("session_id")
    assert (of_session["person_id"].nunique() == 1).all()
    spans = of_session["at"].agg(["min", "max"])
    assert (spans["max"] - spans["min"]).max() < pd.Timedelta(minutes=30)


def test_events_are_within_the_data(events: pd.DataFrame, lines: pd.DataFrame):
    assert events["at"].max() == real.utc(lines["at"]).max()
    assert events["at"].min() >= pd.Timestamp("2010-12-01")
    assert 300_000 <= len(events) <= 520_000


def test_known_people_come_back_only_after_their_first_order(
    sessions: pd.DataFrame, lines: pd.DataFrame
):
    first = real.people(lines).to_pandas().set_index("person_id")["first_seen_at"]
    other = sessions[~sessions["did_purchase"] & sessions["person_id"].isin(first.index)]
    assert len(other) > 20_000
    assert (other["at"] > other["person_id"].map(first)).all()


def test_nobody_visits_thousands_of_times(sessions: pd.DataFrame):
    visitors = sessions[sessions["person_id"].str.startswith("v")]
    assert visitors["person_id"].value_counts().max() < 50


def test_a_usual_trading_day_converts_as_planted(sessions: pd.DataFrame):
    days = sessions.groupby("day")["did_purchase"].agg(["sum", "mean"])
    usual = days[(days["sum"] > 20) & (days.index != planted.BROKEN_CHECKOUT.day)]["mean"]
    assert usual.mean() == pytest.approx(planted.SESSION_CONVERSION, rel=0.02)
    assert usual.std() < 0.1 * planted.SESSION_CONVERSION


def test_devices_convert_as_planted(sessions: pd.DataFrame):
    usual = sessions[sessions["day"] != planted.BROKEN_CHECKOUT.day]
    found = usual.groupby(["device", "channel"])["did_purchase"].agg(["sum", "size"])
    rates = pd.DataFrame(planted.cell_rates(), planted.DEVICES, planted.CHANNELS).stack()
    rates.index.names = ["device", "channel"]
    spread = np.sqrt(found["size"] * rates * (1 - rates))
    scale = found["sum"].sum() / (found["size"] * rates).sum()  # quiet days lower the whole
    away = (found["sum"] - scale * found["size"] * rates) / spread
    assert 0.94 < scale < 1
    assert away.abs().max() < 3.5


def test_one_cell_breaks_on_one_day_of_the_last_thirty(sessions: pd.DataFrame):
    broken = planted.BROKEN_CHECKOUT
    assert 0 < (planted.TODAY - broken.day).days <= 30
    day = sessions[sessions["day"] == broken.day]
    cell = (day["device"] == broken.device) & (day["channel"] == broken.channel)
    assert cell.sum() > 400
    assert not day.loc[cell, "did_purchase"].any()
    assert day.loc[cell, "did_checkout"].mean() == pytest.approx(broken.checkout_share, abs=0.07)
    others = day.loc[~cell, "did_purchase"].mean()
    assert others == pytest.approx(planted.SESSION_CONVERSION, abs=0.01)

    days = sessions.groupby("day")["did_purchase"].agg(["sum", "mean"])["mean"]
    trading = days[days > 0]
    month = trading[trading.index >= (pd.Timestamp(planted.TODAY) - pd.Timedelta(days=30)).date()]
    assert month.idxmin() == broken.day
    rest = month.drop(broken.day)
    assert (rest.mean() - month[broken.day]) / rest.std() > 4


# --- experiments and ratings -----------------------------------------------------------------


def outcome(
    experiment: planted.Experiment, made_up: dict[str, pa.Table], sales: pd.DataFrame
) -> pd.DataFrame:
    """Per variant: people, and those of them who order within the experiment."""
    exposures = made_up["exposures"].to_pandas()
    exposed = exposures[exposures["experiment"] == experiment.name]
    end = real.utc(pd.Series([pd.Timestamp(experiment.end)]))[0]
    later = sales.merge(exposed, on="person_id")
    later = later[(later["ordered_at"] >= later["exposed_at"]) & (later["ordered_at"] < end)]
    exposed = exposed.assign(ordered=exposed["person_id"].isin(later["person_id"]))
    return exposed.groupby("variant")["ordered"].agg(["size", "sum", "mean"])


def lift(arms: pd.DataFrame) -> tuple[float, float]:
    """The relative lift, and the unpooled z of the difference."""
    control, treatment = arms.loc["control"], arms.loc["treatment"]
    variance = (arms["mean"] * (1 - arms["mean"]) / arms["size"]).sum()
    difference = treatment["mean"] - control["mean"]
    return difference / control["mean"], difference / math.sqrt(variance)


def split_p(arms: pd.DataFrame) -> float:
    """The chance of a split at least as uneven, were both halves equal (chi-squared, 1 df)."""
    a, b = arms["size"]
    return math.erfc(abs(a - b) / math.sqrt(2 * (a + b)))


def test_checkout_v2_has_its_planted_lift(made_up: dict[str, pa.Table], sales: pd.DataFrame):
    arms = outcome(planted.CHECKOUT_V2, made_up, sales)
    found, z = lift(arms)
    assert arms["size"].tolist() == [8_863, 8_864]
    assert arms["sum"].tolist() == [734, 845]
    assert found == pytest.approx(planted.CHECKOUT_V2.lift, abs=0.003)
    assert math.erfc(z / math.sqrt(2)) == pytest.approx(0.0034, abs=0.0001)
    assert split_p(arms) > 0.9


def test_banner_blue_has_a_split_that_cannot_be_chance(
    made_up: dict[str, pa.Table], sales: pd.DataFrame
):
    arms = outcome(planted.BANNER_BLUE, made_up, sales)
    control, treatment = arms["size"]
    assert treatment / control == pytest.approx(1 - planted.BANNER_BLUE.lost, abs=0.02)
    assert split_p(arms) < 1e-6


def test_free_delivery_note_does_nothing(made_up: dict[str, pa.Table], sales: pd.DataFrame):
    arms = outcome(planted.FREE_DELIVERY_NOTE, made_up, sales)
    _, z = lift(arms)
    assert arms["size"].min() > 5_000
    assert abs(z) < 1.64
    assert split_p(arms) > 0.05


def test_people_are_exposed_at_their_first_visit_in_the_experiment(
    made_up: dict[str, pa.Table], sessions: pd.DataFrame
):
    exposures = made_up["exposures"].to_pandas()
    for experiment in planted.EXPERIMENTS:
        inside = sessions[
            (sessions["day"] >= experiment.start) & (sessions["day"] < experiment.end)
        ]
        first = inside.groupby("person_id")["at"].min()
        exposed = exposures[exposures["experiment"] == experiment.name].set_index("person_id")
        assert exposed.index.is_unique
        assert (exposed["exposed_at"] == first[exposed.index]).all()


def test_nps_falls_from_the_planted_day_on(made_up: dict[str, pa.Table], lines: pd.DataFrame):
    asked = rated(made_up, lines, "nps")
    late = asked["ordered_on"] >= pd.Timestamp(planted.NPS_DROP)
    assert asked["score"].between(0, 10).all()
    before, after = (
        net_promoters(asked.loc[~late, "score"]),
        net_promoters(asked.loc[late, "score"]),
    )
    assert before == pytest.approx(planted.nps(planted.NPS_BEFORE), abs=5)
    assert after == pytest.approx(planted.nps(planted.NPS_AFTER), abs=15)
    assert before - after > 20


def test_csat_is_lower_abroad(made_up: dict[str, pa.Table], lines: pd.DataFrame):
    asked = rated(made_up, lines, "csat")
    assert asked["score"].between(1, 5).all()
    abroad = asked["country"] != planted.HOME_COUNTRY
    assert asked.loc[~abroad, "score"].mean() == pytest.approx(4.26, abs=0.1)
    assert asked.loc[abroad, "score"].mean() == pytest.approx(3.46, abs=0.4)


def rated(made_up: dict[str, pa.Table], lines: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The ratings of one kind with the day and the country of their orders."""
    orders = lines.drop_duplicates("order_id").set_index("order_id")
    ratings = made_up["ratings"].to_pandas()
    asked = ratings[ratings["kind"] == kind]
    order = asked["rating_id"].str.removeprefix(f"{kind}-")
    return asked.assign(
        ordered_on=order.map(orders["at"]).dt.floor("D"), country=order.map(orders["country"])
    )


def net_promoters(score: "pd.Series[int]") -> float:
    """Promoters (9, 10) less detractors (0 to 6), in points."""
    return 100 * ((score >= 9).mean() - (score <= 6).mean())


def test_checkouts_left_behind_go_before_a_lapse(sessions: pd.DataFrame, sales: pd.DataFrame):
    orders = sales.sort_values("ordered_at")
    orders = orders.assign(next_at=orders.groupby("person_id")["ordered_at"].shift(-1))
    end = orders["ordered_at"].max()
    gap = orders["next_at"].fillna(end) - orders["ordered_at"]
    lapsed = gap > pd.Timedelta(days=planted.LAPSE_DAYS + 1)
    back = orders["next_at"].notna() & (gap < pd.Timedelta(days=planted.LAPSE_DAYS - 1))

    left = sessions[sessions["did_checkout"] & ~sessions["did_purchase"]]
    pairs = orders[["order_id", "person_id", "ordered_at", "next_at"]].merge(
        left[["person_id", "at"]], on="person_id"
    )
    soon = (pairs["at"] > pairs["ordered_at"]) & (
        pairs["at"] < pairs["ordered_at"] + pd.Timedelta(days=16)
    )
    before_next = pairs["next_at"].isna() | (pairs["at"] < pairs["next_at"])
    marked = orders["order_id"].isin(pairs.loc[soon & before_next, "order_id"])
    assert marked[lapsed].mean() > 0.4
    assert marked[back].mean() < 0.15


# --- who visits how --------------------------------------------------------------------------


def mannered(events: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """One row per session of known people: device, channel, pages, depth, and the manner."""
    shop = read_shop(lines)
    manner = pd.Series(np.array(planted.MANNERS)[manners(shop)], shop.person_ids)
    known = events[events["person_id"].isin(manner.index)]
    first = known.drop_duplicates("session_id").set_index("session_id")
    pages = known[known["name"].isin(["visit", "view_item"])].groupby("session_id").size()
    return first.assign(pages=pages, manner=first["person_id"].map(manner))


def test_people_keep_their_manner(events: pd.DataFrame, lines: pd.DataFrame):
    visits = mannered(events, lines)
    mobile = (visits["device"] == "mobile").groupby(visits["manner"]).mean()
    assert mobile["phone"] == pytest.approx(0.87, abs=0.03)
    assert mobile["comparing"] == pytest.approx(mobile["straight"], abs=0.02)
    assert mobile["straight"] == pytest.approx(0.10, abs=0.03)
    pages = visits["pages"].groupby(visits["manner"]).mean()
    assert pages["comparing"] == pytest.approx(2.8, abs=0.1)
    assert pages["phone"] == pytest.approx(pages["straight"], abs=0.05)
    people = visits.drop_duplicates("person_id")["manner"].value_counts(normalize=True)
    for name, share in zip(planted.MANNERS, planted.MANNER_SHARE, strict=True):
        assert people[name] == pytest.approx(share, abs=0.03)


def test_manners_and_lapses_change_no_day(
    events: pd.DataFrame, lines: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planted, "MANNER_KEPT", 0.0)
    monkeypatch.setattr(planted, "LAPSE_LEAVES", 0.0)
    twin = simulate(lines)["events"].to_pandas()
    assert daily(twin) == daily(events)
    mobile = (mannered(twin, lines).assign(m=lambda v: v["device"] == "mobile")).groupby("manner")
    assert mobile["m"].mean().max() - mobile["m"].mean().min() < 0.02


def daily(events: pd.DataFrame) -> list[dict[tuple[str, ...], int]]:
    """Sessions by day and device, channel and whether they bought; and by day and furthest step."""
    ends = events.drop_duplicates("session_id", keep="last")
    ends = ends.assign(day=ends["at"].dt.floor("D"), buys=ends["name"] == "purchase")
    return [
        ends.groupby(by).size().to_dict()
        for by in (["day", "device", "channel", "buys"], ["day", "name"])
    ]


def test_pairs_are_looked_at_together_as_planted(events: pd.DataFrame):
    seen = events[(events["name"] == "view_item") & events["person_id"].str.startswith("v")]
    visits = seen["session_id"].nunique()
    for one, other in planted.LOOKED_AT_TOGETHER:
        both = set(seen.loc[seen["item_id"] == one, "session_id"]) & set(
            seen.loc[seen["item_id"] == other, "session_id"]
        )
        assert len(both) / visits == pytest.approx(planted.TOGETHER_SHARE, rel=0.1)
