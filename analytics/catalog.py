"""Metrics and dimensions: each measure, and each way to slice it, defined once, one row each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dimension:
    """A way to slice: its name, the other words for it, and what it says about its rows."""

    name: str
    label: str
    help: str
    aliases: tuple[str, ...] = ()


DIMENSIONS = (
    Dimension("country", "Country", "where the person or order is from", ("market",)),
    Dimension("category", "Category", "the item's category", ("department",)),
    Dimension("channel", "Channel", "how the visit came: search, email, ...", ("medium",)),
    Dimension("device", "Device", "desktop, mobile or tablet", ("platform",)),
)


@dataclass(frozen=True)
class Catalog:
    """What can be asked about: ours, and the rows that the user's config.yaml adds."""

    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def dimension(self, name: str) -> Dimension:
        """The dimension of exactly this name; KeyError where there is none."""
        return next(d for d in self.dimensions if d.name == name)
