"""What the simulation plants, as numbers that tests import. PLANTED.md says it in words.

Local days of the shop (Europe/London). Everything about real orders is real; what is planted lives
in the simulated events, exposures and ratings alone.
"""

import datetime as dt
from dataclasses import dataclass

#: All random draws start from this number.
SEED = 20_111_210

#: The demo's clock: the day after the last row, so that "last 30 days" is 2011-11-10 to 2011-12-09.
TODAY = dt.date(2011, 12, 10)

DEVICES = ("desktop", "mobile", "tablet")
CHANNELS = ("search", "email", "social", "ads", "direct", "referral")

#: Share of sessions that end in an order, over all devices and channels on a usual trading day.
SESSION_CONVERSION = 0.06

#: Share of sessions by device, and by channel within each device.
DEVICE_SHARE = (0.57, 0.35, 0.08)
CHANNEL_SHARE = (
    (0.38, 0.11, 0.09, 0.12, 0.20, 0.10),
    (0.24, 0.08, 0.24, 0.30, 0.10, 0.04),
    (0.32, 0.12, 0.16, 0.18, 0.16, 0.06),
)

#: Conversion relative to desktop, and relative to search, all else equal.
DEVICE_EFFECT = (1.0, 0.55, 0.8)
CHANNEL_EFFECT = (1.0, 1.5, 0.55, 0.9, 1.2, 1.0)


@dataclass(frozen=True)
class Breakage:
    """One day on which one cell's checkout fails while its traffic grows."""

    day: dt.date
    device: str
    channel: str
    traffic: float  # times the usual sessions of the cell
    checkout_share: float  # of the cell's sessions, those that get as far as the checkout


BROKEN_CHECKOUT = Breakage(dt.date(2011, 11, 25), "mobile", "ads", 4.0, 0.4)


@dataclass(frozen=True)
class Experiment:
    """Exposed at the first visit within [start, end); half the people to each variant."""

    name: str
    start: dt.date
    end: dt.date
    lift: float | None = None  # of the share who order within the window; None: no effect at all
    lost: float = 0.0  # share of the treatment's exposures that never arrive


CHECKOUT_V2 = Experiment("checkout_v2", dt.date(2011, 11, 7), dt.date(2011, 12, 5), lift=0.15)
BANNER_BLUE = Experiment("banner_blue", dt.date(2011, 10, 10), dt.date(2011, 11, 7), lost=0.1)
FREE_DELIVERY_NOTE = Experiment("free_delivery_note", dt.date(2011, 9, 12), dt.date(2011, 10, 10))
EXPERIMENTS = (CHECKOUT_V2, BANNER_BLUE, FREE_DELIVERY_NOTE)
VARIANTS = ("control", "treatment")

#: NPS: share of orders that answer; shares of detractors (0-6), passives (7-8), promoters (9-10)
#: before and from the day of the drop (late deliveries before Christmas).
NPS_RESPONSE = 0.08
NPS_DROP = dt.date(2011, 11, 14)
NPS_BEFORE = (0.15, 0.27, 0.58)
NPS_AFTER = (0.35, 0.27, 0.38)

#: CSAT: share of orders that answer; shares of the scores 1 to 5 at home and, with slow shipping,
#: abroad.
CSAT_RESPONSE = 0.06
CSAT_HOME = (0.02, 0.04, 0.10, 0.34, 0.50)
CSAT_ABROAD = (0.08, 0.14, 0.24, 0.32, 0.22)
HOME_COUNTRY = "United Kingdom"

#: Churn driver: the share of orders that are followed within two weeks by a checkout left behind,
#: where the person then orders nothing for 90 days, and where the person comes back sooner.
LAPSE_DAYS = 90
ABANDONED_IF_LAPSED = 0.5
ABANDONED_IF_BACK = 0.1
#: Of the visits in the month after an order, how surely those of people who lapse are the ones of
#: their day that end in a checkout left behind. Of the orders whose 90 days are not over, this
#: share is taken to lapse.
LAPSE_LEAVES = 0.95
OPEN_LAPSES = 0.35
LAPSE_SEEN_DAYS = 30

#: Before an order: how many visits on average, in how many days on average.
VISITS_BEFORE = (1.6, 6.0)

#: How people of known orders visit, drawn once for each: on the phone; comparing several items; or
#: straight to it. A visit goes to the people whose way it is with this certainty, within its day:
#: how many visits of each kind a day has does not change.
MANNERS = ("phone", "comparing", "straight")
MANNER_SHARE = (0.25, 0.30, 0.45)
MANNER_KEPT = 0.95

#: Items that visitors look at together: each pair in this share of their visits that see items.
LOOKED_AT_TOGETHER = (("22423", "82494L"), ("22727", "84946"), ("20725", "22457"))
TOGETHER_SHARE = 0.03


def cell_shares() -> list[list[float]]:
    """Share of all sessions per device and channel."""
    return [
        [share * of_device for of_device in channels]
        for share, channels in zip(DEVICE_SHARE, CHANNEL_SHARE, strict=True)
    ]


def cell_rates() -> list[list[float]]:
    """Conversion per device and channel, scaled so that the whole is SESSION_CONVERSION."""
    relative = [[device * channel for channel in CHANNEL_EFFECT] for device in DEVICE_EFFECT]
    whole = sum(
        share * rate
        for shares, rates in zip(cell_shares(), relative, strict=True)
        for share, rate in zip(shares, rates, strict=True)
    )
    return [[rate / whole * SESSION_CONVERSION for rate in rates] for rates in relative]


def nps(shares: tuple[float, float, float]) -> float:
    """Net promoter score, in points, of shares of detractors, passives and promoters."""
    return 100 * (shares[2] - shares[0])
