"""Draw what `ab` says in each of its ten states, as Slack messages, on made-up experiments.

`python -m docs.pictures.experiments [STATE …]` from the root of the repository; needs npm and
Chromium. Every person of an experiment is made up by a fixed seed; the verdict is the command's.
"""

import datetime as dt
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from analytics.catalog import Catalog, Plan
from analytics.command import Context
from bot.dispatch import answer
from bot.slack.blocks import to_message
from docs.pictures.browser import PictureError
from docs.pictures.make import BUILD, DESKTOP_PX, as_drawn, bundle, draw_pieces
from storage.engines import arrow_type
from storage.schema import metadata
from storage.state import State
from storage.store import Store

NOW = dt.datetime(2026, 11, 25, 9, 12, tzinfo=dt.UTC)
TODAY = NOW.date()
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Made:
    """An experiment to be made up: per variant people, the share who order, the share who return.

    It began `age` days ago and is planned for `days` (0: no plan); `whale` is one person's number
    of orders in the treatment.
    """

    name: str
    arms: dict[str, tuple[int, float, float]]
    age: int
    days: int
    said: str = ""
    whale: int = 0
    plan: dict[str, object] = field(default_factory=dict)

    @property
    def start(self) -> dt.date:
        """Its first day."""
        return TODAY - self.age * DAY

    @property
    def planned(self) -> list[Plan]:
        """As it is registered."""
        if not self.days:
            return []
        end = self.start + (self.days - 1) * DAY
        return [Plan(self.name, self.start, end, **self.plan)]  # type: ignore[arg-type]


#: State -> the experiment that is in it.
STATES = {
    "no_result": Made("gift_wrap", {"control": (900, 0, 0), "treatment": (900, 0, 0)}, 12, 28),
    "invalid": Made(
        "blue_banner", {"control": (7269, 0.08, 0.01), "treatment": (6603, 0.085, 0.01)}, 14, 28
    ),
    "too_early": Made(
        "new_menu", {"control": (2400, 0.09, 0.01), "treatment": (2390, 0.1, 0.01)}, 4, 28
    ),
    "too_skewed": Made(
        "bulk_order_form",
        {"control": (9000, 0.3, 0), "treatment": (1000, 0.3, 0)},
        14,
        14,
        " metric orders",
        whale=700,
        plan={"metric": "orders", "split": (("control", 0.9), ("treatment", 0.1))},
    ),
    "guardrail_harmed": Made(
        "easy_returns", {"control": (9000, 0.08, 0.01), "treatment": (9010, 0.1, 0.05)}, 28, 28
    ),
    "ship": Made(
        "one_page_checkout",
        {"control": (9000, 0.08, 0.01), "treatment": (9020, 0.098, 0.01)},
        28,
        28,
        plan={"mde": 0.1},
    ),
    "dont_ship": Made(
        "later_sign_up", {"control": (8000, 0.1, 0.01), "treatment": (7960, 0.082, 0.01)}, 28, 28
    ),
    "no_meaningful_difference": Made(
        "rounder_buttons",
        {"control": (20_000, 0.1, 0.01), "treatment": (20_050, 0.1, 0.01)},
        28,
        28,
        plan={"mde": 0.1},
    ),
    "keep_running": Made(
        "free_delivery_note",
        {"control": (4000, 0.09, 0.01), "treatment": (4020, 0.096, 0.01)},
        12,
        28,
        plan={"mde": 0.1},
    ),
    "plan_used_up": Made(
        "search_first",
        {"control": (5000, 0.09, 0.01), "treatment": (5040, 0.094, 0.01)},
        28,
        28,
        plan={"mde": 0.05},
    ),
}


def main(names: Sequence[str]) -> int:
    """Draw the named states, or all."""
    unknown = sorted(set(names) - set(STATES))
    if unknown:
        raise PictureError(f"No state is called {', '.join(unknown)}: {', '.join(STATES)}.")
    BUILD.mkdir(parents=True, exist_ok=True)
    script, style = bundle()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"duckdb:///{folder}/made.duckdb")
        state = State.open(f"sqlite:///{folder}/state.sqlite")
        for number, made in enumerate(STATES.values()):
            fill(store, made, number)
        plans = tuple(plan for made in STATES.values() for plan in made.planned)
        ctx = Context(
            store=store,
            now=NOW,
            zone=ZoneInfo("UTC"),
            currency="EUR",
            catalog=Catalog(plans=plans),
            state=state,
        )
        for name, made in STATES.items():
            if names and name not in names:
                continue
            result = answer(f"ab {made.name}{made.said}", ctx).result
            if f" {name};" not in result.mark:
                raise PictureError(f"{made.name} is {result.mark}, not {name}.")
            sys.stdout.write(f"{result.headline}\n")
            pieces = [as_drawn(to_message(result))]
            draw_pieces(f"ab-{name.replace('_', '-')}", pieces, (DESKTOP_PX,), script, style)
        state.close()
        store.close()
    return 0


def fill(store: Store, made: Made, seed: int) -> None:
    """Its exposures, a visit each, orders and returns."""
    draws = np.random.default_rng([20_261_125, seed])
    until = min(made.age, made.days or made.age)
    seen: list[dict[str, object]] = []
    visits: list[dict[str, object]] = []
    bought: list[dict[str, object]] = []
    morning = dt.datetime.combine(made.start, dt.time())
    for variant, (people, orders, returns) in made.arms.items():
        # shares exactly as said, people by chance: a picture needs its state
        chosen = [int(i) for i in draws.permutation(people)]
        buyers, returning = chosen[: round(people * orders)], chosen[: round(people * returns)]
        comes = [
            morning + dt.timedelta(seconds=round(day * 86_400))
            for day in draws.uniform(0, until - 0.02, people)
        ]
        names = [f"{made.name}-{variant}-{i}" for i in range(people)]
        for i, (person, at) in enumerate(zip(names, comes, strict=True)):
            seen.append(
                {
                    "experiment": made.name,
                    "person_id": person,
                    "variant": variant,
                    "exposed_at": at,
                }
            )
            visits.append(
                {
                    "event_id": person,
                    "person_id": person,
                    "at": at,
                    "name": "visit",
                    "device": ("desktop", "mobile")[i % 2],
                }
            )
        whale = [buyers[0]] * made.whale if made.whale and variant == "treatment" else []
        for n, i in enumerate([*buyers, *whale]):
            cents = int(np.exp(draws.normal(8.2, 0.7)))
            bought.append(order(f"{names[i]}-{n}", names[i], comes[i], cents))
        bought += [
            order(f"{names[i]}-back", names[i], comes[i], -2500 - i % 900) for i in returning
        ]
    for table, rows in (("exposures", seen), ("events", visits), ("orders", bought)):
        if rows:
            write(store, table, rows)


def order(key: str, person: str, at: dt.datetime, cents: int) -> dict[str, object]:
    """An order soon after the exposure, or a return."""
    kind = "sale" if cents >= 0 else "return"
    soon = at + dt.timedelta(minutes=9)
    return {"order_id": key, "person_id": person, "ordered_at": soon, "kind": kind,
            "amount_cents": cents}  # fmt: skip


def write(store: Store, table: str, rows: Sequence[dict[str, object]]) -> None:
    """Rows into a table; columns that are left out are null."""
    columns = {
        c.name: pa.array(
            [r.get(c.name, "made up" if c.name == "source" else None) for r in rows],
            arrow_type(c.type),
        )
        for c in metadata.tables[table].columns
    }
    with store.engine.writing() as writer:
        writer.append(table, pa.table(columns))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PictureError as error:
        sys.exit(str(error))
