"""Made-up behaviour around the real orders: visits, experiments and ratings, by a fixed seed.

Each real order of a known person gets a web session that ends in it, at its own instant. Sessions
that end in nothing are laid around them, by known people between their orders and by visitors who
never buy, so that a usual day converts as `planted.SESSION_CONVERSION` says. Nothing real is
changed: where something is planted, it is in which made-up row falls on which real one.

Same input, same tables, byte for byte. Times are the shop's local ones until the tables are built.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.demo import planted
from storage.demo.items import is_product
from storage.demo.real import utc
from storage.demo.sources import EXPERIMENTS, RATINGS, VISITORS, WEB_EVENTS

Array = npt.NDArray[Any]

#: The names of events, in the order of the funnel; a session's depth is an index into it.
FUNNEL = ("visit", "view_item", "add_to_cart", "checkout", "purchase")
VISIT, VIEW, CART, CHECKOUT, PURCHASE = range(5)

NO_ORDER = -1
DAY = np.timedelta64(1, "D")
SECOND = np.timedelta64(1, "s")

#: Sessions on a day without orders (Saturdays, the Christmas break) against the week around it.
QUIET_DAY = 0.25
#: How far sessions that end in nothing get: P(view), P(cart | view), P(checkout | cart).
DEPTH_OF_VISITORS = (0.15, 0.30, 0.30)
DEPTH_OF_CUSTOMERS = (0.40, 0.35, 0.30)
#: Sessions without an order after each order of a known person; before it, `VISITS_BEFORE`.
BROWSING_AFTER = (0.8, 15.0)  # how many on average, how many days after on average
#: Of visitors' sessions, those of somebody new; others are of somebody who came lately.
NEW_VISITOR = 0.25
RETURN_LAG = 4_000  # how many visitors ago a returning one first came, on average
#: Views and carts of a session: how many items.
VIEWS = (0.7, 0.2, 0.1)
SECOND_CART = 0.1
#: Seconds between the events of a session: at most 7 gaps, so that no session lasts 30 minutes.
GAP = (8, 150)


@dataclass(frozen=True)
class Shop:
    """The real rows that the simulation stands on."""

    orders: pd.DataFrame  # order_id, person, at, country, last, next_at; by time; known people
    bought: Array  # item of each product line of those orders, grouped by order
    first_line: Array  # of each order in `bought`; one more entry at the end
    popular: Array  # item of each product line, by time
    popular_at: Array  # its local time
    item_ids: Array
    person_ids: Array
    person_country: Array
    person_lines: Array  # lines of `bought` grouped by person
    person_first_line: Array
    through: np.datetime64  # the last instant of the real data


@dataclass(frozen=True)
class Sessions:
    """Made-up sessions, one entry each: who, when, how far, over which cell, to which order."""

    person: Array
    start: Array  # of sessions with an order: the order's time
    depth: Array
    cell: Array
    order: Array

    @staticmethod
    def joined(*parts: "Sessions") -> "Sessions":
        """The parts one after the other."""
        names = ("person", "start", "depth", "cell", "order")
        return Sessions(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))


def simulate(lines: pd.DataFrame) -> dict[str, pa.Table]:
    """The tables people (visitors only), events, exposures and ratings.

    `lines` are those of `storage.demo.real.lines`; their columns are those of the schema's tables.
    """
    shop = read_shop(lines)
    sessions, visitors = browse(shop)
    names = np.concatenate([shop.person_ids, visitors["person_id"].to_numpy()])
    country = np.concatenate([shop.person_country, visitors["country"].to_numpy()])
    events = events_of(shop, sessions)
    return {
        "people": visitors_table(visitors),
        "events": events_table(events, shop, sessions, names, country),
        "exposures": exposures_table(events, sessions, names, lines),
        "ratings": ratings_table(lines),
    }


def stream(part: str) -> np.random.Generator:
    """Random numbers of one part: a change in one part leaves the others as they were."""
    return np.random.default_rng([planted.SEED, *part.encode()])


# --- the real rows ---------------------------------------------------------------------------


def read_shop(lines: pd.DataFrame) -> Shop:
    """Index the real sales."""
    product = [item_id for item_id in lines["item_id"].unique() if is_product(item_id)]
    sold = lines[(lines["kind"] == "sale") & lines["item_id"].isin(product)]
    item_ids, item = np.unique(sold["item_id"].to_numpy(dtype=str), return_inverse=True)
    sold = sold.assign(item=item)
    by_time = sold.sort_values("at", kind="stable")
    known = sold[sold["person_id"].notna()]
    orders = known.drop_duplicates("order_id")[["order_id", "person_id", "at", "country"]]
    orders = orders.sort_values(["at", "order_id"]).reset_index(drop=True)
    person_ids, person = np.unique(orders["person_id"].to_numpy(dtype=str), return_inverse=True)
    orders = orders.assign(
        person=person,
        next_at=orders.groupby("person_id")["at"].shift(-1),
        last=~orders["person_id"].duplicated(keep="last"),
    )
    baskets = known.drop_duplicates(["order_id", "item"])
    position = pd.Series(orders.index, orders["order_id"])
    order = baskets["order_id"].map(position).to_numpy()
    grouped = np.argsort(order, kind="stable")
    bought, order = baskets["item"].to_numpy()[grouped], order[grouped]
    of_person = person[order]
    return Shop(
        orders=orders,
        bought=bought,
        first_line=np.searchsorted(order, np.arange(len(orders) + 1)),
        popular=by_time["item"].to_numpy(),
        popular_at=by_time["at"].to_numpy(),
        item_ids=item_ids,
        person_ids=person_ids,
        person_country=orders.drop_duplicates("person_id")
        .sort_values("person")["country"]
        .to_numpy(dtype=str),
        person_lines=bought[np.argsort(of_person, kind="stable")],
        person_first_line=np.searchsorted(np.sort(of_person), np.arange(len(person_ids) + 1)),
        through=lines["at"].max().to_datetime64().astype("datetime64[s]"),
    )


# --- sessions --------------------------------------------------------------------------------


def browse(shop: Shop) -> tuple[Sessions, pd.DataFrame]:
    """All sessions, and the visitors (person_id, first start, country, channel) among them."""
    buying = buying_sessions(shop)
    known = known_people(shop)
    strangers, visitors = visitors_sessions(shop, known)
    buying, known = (on_their_devices(shop, s) for s in (buying, known))
    return Sessions.joined(buying, known, strangers), visitors


def buying_sessions(shop: Shop) -> Sessions:
    """One per real order. On the broken day none comes by the broken cell."""
    draws = stream("buying")
    orders = len(shop.orders)
    at = shop.orders["at"].to_numpy(dtype="datetime64[s]")
    chance = buying_chance()
    without = chance.copy()
    without[broken_cell()] = 0
    cell = np.where(
        at.astype("datetime64[D]") == broken_day(),
        draws.choice(len(chance), orders, p=without / without.sum()),
        draws.choice(len(chance), orders, p=chance),
    )
    person = shop.orders["person"].to_numpy()
    return Sessions(person, at, np.full(orders, PURCHASE), cell, np.arange(orders))


def known_people(shop: Shop) -> Sessions:
    """Sessions without an order of people who have bought, on days between their orders."""
    draws = stream("known people")
    orders = shop.orders
    day = orders["at"].to_numpy().astype("datetime64[D]")
    until = np.where(
        orders["next_at"].isna(), shop.through + DAY, orders["next_at"].to_numpy()
    ).astype("datetime64[D]")
    index = np.arange(len(orders))

    after_of = np.repeat(index, draws.poisson(BROWSING_AFTER[0], len(index)))
    after = day[after_of] + whole_days(1 + draws.exponential(BROWSING_AFTER[1], len(after_of)))
    returning = index[orders["next_at"].notna().to_numpy()]
    before_of = np.repeat(returning, draws.poisson(planted.VISITS_BEFORE[0], len(returning)))
    before = until[before_of] - whole_days(
        1 + draws.exponential(planted.VISITS_BEFORE[1], len(before_of))
    )
    left_of, left = abandoned_checkouts(shop, day, until)

    order = np.concatenate([after_of, before_of, left_of])
    on = np.concatenate([after, before, left])
    depth = depths(draws, len(order), DEPTH_OF_CUSTOMERS)
    depth[len(after_of) + len(before_of) :] = CHECKOUT
    fits = (on > day[order]) & (on < until[order])
    quiet = np.isin(on, np.unique(day), invert=True) & (draws.random(len(on)) > QUIET_DAY)
    keep = fits & ~quiet
    order, on = order[keep], on[keep]
    person = orders["person"].to_numpy()[order]
    start = on + times_of_day(draws, shop, on)
    depth = depths_dealt(shop, person, on, depth[keep], leaving_for_good(shop, order, on))
    return Sessions(
        person,
        start,
        depth,
        draws.choice(len(buying_chance()), int(keep.sum()), p=leaving_chance()),
        np.full(int(keep.sum()), NO_ORDER),
    )


def abandoned_checkouts(shop: Shop, day: Array, until: Array) -> tuple[Array, Array]:
    """The planted churn driver: (order, day) of checkouts left behind within two weeks after."""
    draws = stream("abandoned checkouts")
    lapsed, back = after_orders(shop)
    chance = np.select(
        [lapsed, back], [planted.ABANDONED_IF_LAPSED, planted.ABANDONED_IF_BACK], 0.0
    )
    order = np.flatnonzero(draws.random(len(day)) < chance)
    room = np.minimum((until - day)[order] / DAY, 15).astype(int)  # days after the order, excluded
    on = day[order] + whole_days(1 + draws.random(len(order)) * np.maximum(room - 1, 0))
    return order, on


def after_orders(shop: Shop) -> tuple[Array, Array]:
    """Per order: whether the person lapses after it, and whether they come back sooner.

    It is known from the real orders; where the data end too early to know, it is neither.
    """
    at = shop.orders["at"].to_numpy().astype("datetime64[D]")
    next_at = shop.orders["next_at"]
    until = np.where(next_at.isna(), shop.through + DAY, next_at.to_numpy())
    lapsed = until.astype("datetime64[D]") - at > np.timedelta64(planted.LAPSE_DAYS, "D")
    return lapsed, next_at.notna().to_numpy() & ~lapsed


def leaving_for_good(shop: Shop, order: Array, on: Array) -> Array:
    """Which visits come soon after an order that the person lapses after, or is taken to."""
    draws = stream("leaving for good")
    lapsed, back = after_orders(shop)
    lapses = lapsed | (~back & (draws.random(len(lapsed)) < planted.OPEN_LAPSES))
    day = shop.orders["at"].to_numpy().astype("datetime64[D]")[order]
    soon = on - day <= np.timedelta64(planted.LAPSE_SEEN_DAYS, "D")
    return np.asarray(lapses[order] & soon)


# --- who visits how --------------------------------------------------------------------------


def manners(shop: Shop) -> Array:
    """How each known person visits: an index into `planted.MANNERS`."""
    draws = stream("manners")
    return draws.choice(len(planted.MANNERS), len(shop.person_ids), p=planted.MANNER_SHARE)


def has_manner(shop: Shop, person: Array, manner: str) -> Array:
    """Whether each of these people, by number, visits that way; visitors have no way of theirs."""
    known = person < len(shop.person_ids)
    own = manners(shop)[np.where(known, person, 0)]
    return np.asarray(known & (own == planted.MANNERS.index(manner)))


def dealt(
    draws: np.random.Generator, day: Array, values: Array, rank: Array, wanted: Array
) -> Array:
    """The values dealt anew within each day: those of high rank to whom they are wanted most.

    What a day holds stays as it was: only whose it is changes. Ties fall by chance.
    """
    having = np.lexsort((draws.random(len(day)), rank, day))
    getting = np.lexsort((draws.random(len(day)), wanted, day))
    found = values.copy()
    found[getting] = values[having]
    return found


def surely(draws: np.random.Generator, who: Array, certainty: float) -> Array:
    """A wish of 1 for those, with that certainty; else one of 0 or 1 by chance."""
    by_chance = draws.permutation(who)
    return np.where(draws.random(len(who)) < certainty, who, by_chance).astype(int)


def on_their_devices(shop: Shop, sessions: Sessions) -> Sessions:
    """Sessions of known people with the mobile cells of each day dealt to those on the phone."""
    draws = stream(f"devices of {sessions.order.max()}")
    mobile = sessions.cell // len(planted.CHANNELS) == planted.DEVICES.index("mobile")
    phone = has_manner(shop, sessions.person, "phone")
    wanted = surely(draws, phone, planted.MANNER_KEPT)
    day = sessions.start.astype("datetime64[D]")
    return replace(sessions, cell=dealt(draws, day, sessions.cell, mobile, wanted))


def depths_dealt(shop: Shop, person: Array, day: Array, depth: Array, leaving: Array) -> Array:
    """How far visits get: each day's checkouts left behind go to who leaves for good, and the
    visits that see items to who compares.
    """
    draws = stream("depths dealt")
    last = surely(draws, leaving, planted.LAPSE_LEAVES)
    found = dealt(draws, day, depth, depth == CHECKOUT, last)
    rest = np.flatnonzero(found < CHECKOUT)
    comparing = has_manner(shop, person[rest], "comparing")
    wanted = surely(draws, comparing, planted.MANNER_KEPT)
    found[rest] = dealt(draws, day[rest], found[rest], found[rest] >= VIEW, wanted)
    return found


# --- visitors --------------------------------------------------------------------------------


def visitors_sessions(shop: Shop, known: Sessions) -> tuple[Sessions, pd.DataFrame]:
    """Sessions of people who never buy: as many a day as the day's conversion asks for."""
    draws = stream("visitors")
    days, count = visitors_per_day(draws, shop, known)
    on = np.repeat(days, count)
    cell = draws.choice(len(buying_chance()), len(on), p=leaving_chance())
    campaign = campaign_sessions(shop)
    on = np.concatenate([on, np.full(campaign, broken_day())])
    cell = np.concatenate([cell, np.full(campaign, broken_cell())])
    depth = depths(draws, len(on), DEPTH_OF_VISITORS)
    stuck = (on == broken_day()) & (cell == broken_cell())
    reach = draws.random(len(on)) < planted.BROKEN_CHECKOUT.checkout_share
    depth = np.where(stuck & reach, CHECKOUT, depth)
    start = on + times_of_day(draws, shop, on)
    by_time = np.lexsort((cell, start))
    start, cell, depth = start[by_time], cell[by_time], depth[by_time]

    new = draws.random(len(start)) < NEW_VISITOR
    new[0] = True
    known_by_now = np.cumsum(new) - 1
    ago = draws.exponential(RETURN_LAG, len(start)).astype(int)
    visitor = np.where(new, known_by_now, (known_by_now - ago) % (known_by_now + 1))
    people = int(new.sum())
    country = draws.choice(shop.person_country, people)
    visitors = pd.DataFrame(
        {
            "person_id": [f"v{n:05d}" for n in range(1, people + 1)],
            "first_seen_at": start[new],
            "country": country,
            "channel": np.array(planted.CHANNELS)[cell[new] % len(planted.CHANNELS)],
        }
    )
    person = len(shop.person_ids) + visitor
    return Sessions(person, start, depth, cell, np.full(len(start), NO_ORDER)), visitors


def visitors_per_day(
    draws: np.random.Generator, shop: Shop, known: Sessions
) -> tuple[Array, Array]:
    """Days of the data and visitors' sessions on each."""
    ordered_on = shop.orders["at"].to_numpy().astype("datetime64[D]")
    days = np.arange(ordered_on[0], shop.through.astype("datetime64[D]") + DAY)
    orders = np.bincount((ordered_on - days[0]).astype(int), minlength=len(days)).astype(float)
    orders[days == broken_day()] /= 1 - buying_chance()[broken_cell()]  # what a usual day had seen
    a_usual_day = (1 - planted.SESSION_CONVERSION) / planted.SESSION_CONVERSION
    leaving = orders * a_usual_day
    week = pd.Series(leaving).rolling(7, center=True, min_periods=1).mean().to_numpy()
    month = pd.Series(leaving).rolling(31, center=True, min_periods=1).mean().to_numpy()
    leaving = np.where(orders > 0, leaving, QUIET_DAY * np.where(week > 0, week, month))
    leaving *= np.exp(draws.normal(0, 0.04, len(days)))
    of_known = np.bincount(
        (known.start.astype("datetime64[D]") - days[0]).astype(int), minlength=len(days)
    )
    return days, np.maximum(np.rint(leaving) - of_known, 0).astype(int)


def campaign_sessions(shop: Shop) -> int:
    """Sessions of the broken cell on the broken day beyond those of a usual day."""
    on = shop.orders["at"].to_numpy().astype("datetime64[D]") == broken_day()
    chance = buying_chance()[broken_cell()]
    lost = float(on.sum() * chance / (1 - chance))
    usual = lost / float(np.ravel(planted.cell_rates())[broken_cell()])
    return round(lost + usual * (planted.BROKEN_CHECKOUT.traffic - 1))


def buying_chance() -> Array:
    """Per cell the share of the sessions that end in an order."""
    joint = np.ravel(planted.cell_shares()) * np.ravel(planted.cell_rates())
    return np.asarray(joint / joint.sum())


def leaving_chance() -> Array:
    """Per cell the share of the sessions that end in none."""
    joint = np.ravel(planted.cell_shares()) * (1 - np.ravel(planted.cell_rates()))
    return np.asarray(joint / joint.sum())


def broken_cell() -> int:
    """The number of the cell: cells run over devices, then over channels."""
    device = planted.DEVICES.index(planted.BROKEN_CHECKOUT.device)
    channel = planted.CHANNELS.index(planted.BROKEN_CHECKOUT.channel)
    return device * len(planted.CHANNELS) + channel


def broken_day() -> np.datetime64:
    """The day, as numpy writes it."""
    return np.datetime64(planted.BROKEN_CHECKOUT.day, "D")


def depths(draws: np.random.Generator, count: int, chances: tuple[float, ...]) -> Array:
    """How far each session without an order gets."""
    on = np.ones(count, dtype=bool)
    depth = np.full(count, VISIT)
    for chance in chances:
        on &= draws.random(count) < chance
        depth += on
    return depth


def times_of_day(draws: np.random.Generator, shop: Shop, day: Array) -> Array:
    """Times like those of the real orders, a few in the evening; before the end on the last day."""
    of_orders = shop.orders["at"].to_numpy(dtype="datetime64[s]")
    picked = draws.choice(of_orders, len(day))
    seconds = (picked - picked.astype("datetime64[D]")) / SECOND + draws.integers(0, 60, len(day))
    evening = draws.random(len(day)) < 0.15
    seconds = np.where(evening, draws.integers(18 * 3600, 23 * 3600, len(day)), seconds)
    last = day == shop.through.astype("datetime64[D]")
    morning = draws.integers(8 * 3600, 12 * 3600, len(day))
    return np.where(last, morning, seconds).astype(int) * SECOND


def whole_days(days: Array) -> Array:
    """Days as time spans, cut to whole ones."""
    return np.asarray(days.astype(int) * DAY)


# --- events ----------------------------------------------------------------------------------


def events_of(shop: Shop, sessions: Sessions) -> pd.DataFrame:
    """The events of the sessions, by time: session, name (index into FUNNEL), item (or -1), at."""
    draws = stream("events")
    count = len(sessions.start)
    items = items_looked_at(draws, shop, sessions)
    carts = np.where(draws.random(count) < SECOND_CART, 2, 1)
    session, step, item = [], [], []
    every = np.arange(count)
    for name in range(len(FUNNEL)):
        deep = sessions.depth >= name
        for place in range(items.shape[1] if name in (VIEW, CART) else 1):
            there = deep
            if name in (VIEW, CART):
                there = deep & (items[:, place] >= 0)
            if name == CART:
                there = there & (place < carts)
            session.append(every[there])
            step.append(np.full(int(there.sum()), name * 10 + place))
            item.append(items[there, place] if name in (VIEW, CART) else np.full(there.sum(), -1))
    frame = pd.DataFrame(
        {
            "session": np.concatenate(session),
            "step": np.concatenate(step),
            "item": np.concatenate(item),
        }
    ).sort_values(["session", "step"], ignore_index=True)
    gap = draws.integers(*GAP, len(frame))
    gap[frame["step"].to_numpy() == VISIT] = 0
    passed = frame.assign(gap=gap).groupby("session")["gap"].cumsum()
    whole = passed.groupby(frame["session"]).transform("last")
    of = frame["session"].to_numpy()
    ends_here = sessions.order[of] != NO_ORDER
    since = np.where(ends_here, passed - whole, passed).astype(int) * SECOND
    return frame.assign(
        name=frame["step"] // 10, at=sessions.start[of].astype("datetime64[s]") + since
    ).sort_values(["at", "session", "step"], ignore_index=True)


def items_looked_at(draws: np.random.Generator, shop: Shop, sessions: Sessions) -> Array:
    """Up to three items of each session, -1 where there are fewer (or the session saw none).

    A session that ends in an order looks at what the order holds; a known person's other sessions
    look half the time at what the person buys at some time; the rest looks at what sells that week.
    """
    count, most = len(sessions.start), len(VIEWS)
    at = np.searchsorted(shop.popular_at, sessions.start.astype(shop.popular_at.dtype))
    near = at[:, None] + draws.integers(-3_000, 3_000, (count, most))
    items: Array = shop.popular[np.clip(near, 0, len(shop.popular) - 1)]

    own = (sessions.person < len(shop.person_ids)) & (draws.random(count) < 0.5)
    person = sessions.person[own]
    first, end = shop.person_first_line[person], shop.person_first_line[person + 1]
    items[own] = shop.person_lines[pick(draws, first, end, most)]

    buying = sessions.order != NO_ORDER
    order = sessions.order[buying]
    first, end = shop.first_line[order], shop.first_line[order + 1]
    items[buying] = shop.bought[pick(draws, first, end, most)]

    views = views_dealt(shop, sessions, 1 + draws.choice(most, count, p=VIEWS))
    views = looked_at_together(shop, sessions, items, views)
    for place in range(1, most):
        again = (items[:, :place] == items[:, place : place + 1]).any(axis=1)
        items[again | (place >= views), place] = -1
    items[sessions.depth < VIEW] = -1
    return items


def views_dealt(shop: Shop, sessions: Sessions, views: Array) -> Array:
    """How many items each session looks at: of each day's known people, most those who compare."""
    draws = stream("views dealt")
    known = np.flatnonzero((sessions.person < len(shop.person_ids)) & (sessions.depth >= VIEW))
    comparing = has_manner(shop, sessions.person[known], "comparing")
    wanted = surely(draws, comparing, planted.MANNER_KEPT)
    day = sessions.start[known].astype("datetime64[D]")
    found = views.copy()
    found[known] = dealt(draws, day, views[known], views[known], wanted)
    return found


def looked_at_together(shop: Shop, sessions: Sessions, items: Array, views: Array) -> Array:
    """Puts the planted pairs into `items` of visitors' sessions; returns the numbers of views."""
    draws = stream("looked at together")
    seeing = (sessions.person >= len(shop.person_ids)) & (sessions.depth >= VIEW)
    pairs = np.searchsorted(shop.item_ids, np.array(planted.LOOKED_AT_TOGETHER))
    shares = planted.TOGETHER_SHARE * np.arange(1, len(planted.LOOKED_AT_TOGETHER) + 1)
    which = np.searchsorted(shares, draws.random(len(views)), side="right")
    chosen = seeing & (which < len(pairs))
    items[chosen, :2] = pairs[which[chosen]]
    return np.where(chosen, np.maximum(views, 2), views)


def pick(draws: np.random.Generator, first: Array, end: Array, count: int) -> Array:
    """For each row `count` numbers of [first, end), with repetition."""
    share = draws.random((len(first), count))
    return np.asarray(first[:, None] + (share * (end - first)[:, None]).astype(int))


def events_table(
    events: pd.DataFrame, shop: Shop, sessions: Sessions, names: Array, country: Array
) -> pa.Table:
    """The events as the schema has them. Sessions are numbered by their start."""
    of = events["session"].to_numpy()
    number = np.empty(len(sessions.start), dtype=int)
    by_start = pd.unique(of)
    number[by_start] = np.arange(1, len(by_start) + 1)
    session_id = pc.binary_join_element_wise(
        "s", pc.utf8_lpad(pa.array(number[of]).cast(pa.string()), 6, "0"), ""
    )
    place = events.groupby("session").cumcount().to_numpy() + 1
    cell = sessions.cell[of]
    person = sessions.person[of]
    item = events["item"].to_numpy()
    order = np.where(events["name"] == PURCHASE, sessions.order[of], NO_ORDER)
    order_ids = pa.array(shop.orders["order_id"], pa.string())
    return pa.table(
        {
            "event_id": pc.binary_join_element_wise(
                session_id, pa.array(place).cast(pa.string()), "-"
            ),
            "person_id": texts(names).take(pa.array(person)),
            "session_id": session_id,
            "at": pa.array(utc(events["at"]), pa.timestamp("us")),
            "name": texts(FUNNEL).take(pa.array(events["name"].to_numpy())),
            "item_id": texts(shop.item_ids).take(pa.array(item, mask=item < 0)),
            "order_id": order_ids.take(pa.array(order, mask=order == NO_ORDER)),
            "channel": texts(planted.CHANNELS).take(pa.array(cell % len(planted.CHANNELS))),
            "device": texts(planted.DEVICES).take(pa.array(cell // len(planted.CHANNELS))),
            "country": texts(country).take(pa.array(person)),
            "properties": pa.nulls(len(events), pa.string()),
            "source": pa.repeat(WEB_EVENTS, len(events)),
        }
    )


def visitors_table(visitors: pd.DataFrame) -> pa.Table:
    """The people who never buy. Their first session is their first seen instant."""
    return pa.table(
        {
            "person_id": texts(visitors["person_id"]),
            "first_seen_at": pa.array(utc(visitors["first_seen_at"]), pa.timestamp("us")),
            "country": texts(visitors["country"]),
            "channel": texts(visitors["channel"]),
            "attributes": pa.nulls(len(visitors), pa.string()),
            "source": pa.repeat(VISITORS, len(visitors)),
        }
    )


# --- experiments -----------------------------------------------------------------------------


def exposures_table(
    events: pd.DataFrame, sessions: Sessions, names: Array, lines: pd.DataFrame
) -> pa.Table:
    """Each experiment's exposures, at the person's first visit within the experiment."""
    visits = events[events["name"] == VISIT]
    visits = visits.assign(person_id=names[sessions.person[visits["session"].to_numpy()]])
    sales = lines[(lines["kind"] == "sale") & lines["person_id"].notna()]
    orders = sales.drop_duplicates("order_id")[["person_id", "at"]]
    parts = [exposures_of(e, visits, orders) for e in planted.EXPERIMENTS]
    exposures = pd.concat(parts).sort_values(["exposed_at", "experiment", "person_id"])
    return pa.table(
        {
            "experiment": texts(exposures["experiment"]),
            "person_id": texts(exposures["person_id"]),
            "variant": texts(exposures["variant"]),
            "exposed_at": pa.array(utc(exposures["exposed_at"]), pa.timestamp("us")),
            "source": pa.repeat(EXPERIMENTS, len(exposures)),
        }
    )


def exposures_of(
    experiment: planted.Experiment, visits: pd.DataFrame, orders: pd.DataFrame
) -> pd.DataFrame:
    """experiment, person_id, variant, exposed_at of one experiment."""
    start, end = pd.Timestamp(experiment.start), pd.Timestamp(experiment.end)
    seen = visits[(visits["at"] >= start) & (visits["at"] < end)]
    first = seen.drop_duplicates("person_id")[["person_id", "at"]]
    exposed = first.rename(columns={"at": "exposed_at"}).sort_values("person_id")
    if experiment.lift is None:
        treated = np.asarray(by_hash(exposed["person_id"], experiment.name, 2) == 1)
    else:
        treated = by_outcome(exposed, orders, end, experiment.lift)
    lost = np.zeros(len(exposed), dtype=bool)
    if experiment.lost:
        tenths = by_hash(exposed["person_id"], f"{experiment.name} lost", 1_000)
        lost = treated & (tenths < experiment.lost * 1_000)
    control, treatment = planted.VARIANTS
    return exposed.assign(
        experiment=experiment.name, variant=np.where(treated, treatment, control)
    )[~lost]


def by_hash(people: "pd.Series[str]", salt: str, buckets: int) -> Array:
    """A bucket per person: the first 32 bits of the MD5 of "salt:person", modulo the buckets."""
    digests = (hashlib.md5(f"{salt}:{p}".encode(), usedforsecurity=False) for p in people)
    return np.array([int.from_bytes(d.digest()[:4], "big") % buckets for d in digests])


def by_outcome(
    exposed: pd.DataFrame, orders: pd.DataFrame, end: pd.Timestamp, lift: float
) -> Array:
    """Who is treated, so that the treated order `lift` more often within the experiment.

    The orders are real and stay as they are, so the assignment does it: of those who order after
    their exposure, (1 + lift) / (2 + lift) are drawn into the treatment, and of the others as many
    as make both halves equal.
    """
    draws = stream("assignment by outcome")
    later = orders.merge(exposed, on="person_id")
    later = later[(later["at"] >= later["exposed_at"]) & (later["at"] < end)]
    orders_later = exposed["person_id"].isin(later["person_id"]).to_numpy()
    buyers, others = (np.flatnonzero(orders_later), np.flatnonzero(~orders_later))
    of_buyers = round(len(buyers) * (1 + lift) / (2 + lift))
    of_others = round(len(exposed) / 2) - of_buyers
    treated = np.zeros(len(exposed), dtype=bool)
    treated[draws.permutation(buyers)[:of_buyers]] = True
    treated[draws.permutation(others)[:of_others]] = True
    return treated


# --- ratings ---------------------------------------------------------------------------------


def ratings_table(lines: pd.DataFrame) -> pa.Table:
    """Answers of known people to two questions, one to four days after their orders."""
    draws = stream("ratings")
    sales = lines[(lines["kind"] == "sale") & lines["person_id"].notna()]
    orders = sales.drop_duplicates("order_id").sort_values(["at", "order_id"])
    abroad = (orders["country"] != planted.HOME_COUNTRY).to_numpy()
    late = (orders["at"] >= pd.Timestamp(planted.NPS_DROP)).to_numpy()
    groups = np.where(
        late,
        draws.choice(3, len(orders), p=planted.NPS_AFTER),
        draws.choice(3, len(orders), p=planted.NPS_BEFORE),
    )
    low, width = np.array([0, 7, 9]), np.array([7, 2, 2])
    nps = low[groups] + (draws.random(len(orders)) * width[groups]).astype(int)
    csat = 1 + np.where(
        abroad,
        draws.choice(5, len(orders), p=planted.CSAT_ABROAD),
        draws.choice(5, len(orders), p=planted.CSAT_HOME),
    )
    parts = []
    for kind, score, response in (
        ("nps", nps, planted.NPS_RESPONSE),
        ("csat", csat, planted.CSAT_RESPONSE),
    ):
        delay = draws.integers(86_400, 4 * 86_400, len(orders)) * SECOND
        answers = orders[["order_id", "person_id"]].assign(
            kind=kind, score=score, at=utc(orders["at"]) + delay
        )
        parts.append(answers[draws.random(len(orders)) < response])
    ratings = pd.concat(parts)
    through = utc(lines["at"].agg(["max"]))[0]
    ratings = ratings[ratings["at"] <= through].sort_values(["at", "kind", "order_id"])
    return pa.table(
        {
            "rating_id": texts(ratings["kind"] + "-" + ratings["order_id"]),
            "person_id": texts(ratings["person_id"]),
            "at": pa.array(ratings["at"], pa.timestamp("us")),
            "kind": texts(ratings["kind"]),
            "score": pa.array(ratings["score"], pa.int64()),
            "item_id": pa.nulls(len(ratings), pa.string()),
            "source": pa.repeat(RATINGS, len(ratings)),
        }
    )


def texts(values: Any) -> pa.Array:
    """An Arrow array of texts, in one piece."""
    return pa.array([str(value) for value in values], pa.string())
