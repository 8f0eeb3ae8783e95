"""What the `sources` table says about each part of the demo: a row per source and entity."""

from dataclasses import dataclass

from storage.demo.real import SOURCE

ATTRIBUTION = (
    "Online Retail, UCI Machine Learning Repository data set 352, doi.org/10.24432/C5BW33;"
    " D. Chen, S. L. Sain, K. Guo (2012); CC BY 4.0; items were given categories by Daybreak"
)

WEB_EVENTS = "simulated web events"
VISITORS = "simulated visitors"
EXPERIMENTS = "simulated experiments"
RATINGS = "simulated ratings"


@dataclass(frozen=True)
class DemoSource:
    """One row of `sources`, but for the number of rows and the time of loading."""

    source: str
    entity: str
    description: str
    simulated: bool
    attribution: str | None = None


SOURCES = (
    DemoSource(
        SOURCE,
        "people",
        "customers of a British online gift shop, December 2010 to December 2011",
        False,
        ATTRIBUTION,
    ),
    DemoSource(
        SOURCE,
        "items",
        "what the shop sold; the categories follow Daybreak's rule table",
        False,
        ATTRIBUTION,
    ),
    DemoSource(SOURCE, "orders", "the shop's invoices and cancellations", False, ATTRIBUTION),
    DemoSource(SOURCE, "order_lines", "the lines of those invoices", False, ATTRIBUTION),
    DemoSource(VISITORS, "people", "made-up people who look around the shop and never buy", True),
    DemoSource(WEB_EVENTS, "events", "made-up web sessions around the shop's real orders", True),
    DemoSource(EXPERIMENTS, "exposures", "three made-up A/B tests with a planted outcome", True),
    DemoSource(RATINGS, "ratings", "made-up answers to questions after real orders", True),
)
