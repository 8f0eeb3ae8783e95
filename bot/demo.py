"""`python -m bot demo`: the demo shop, and the first answers with their pictures."""

import datetime as dt
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from analytics.errors import DataUnavailableError
from analytics.words import counted
from bot.config import ExperimentSettings, GuardrailSettings
from bot.loading import progress_bar
from bot.setup import Bot
from bot.terminal import drawings, in_colours, wanted_here, write_pictures
from storage.demo import planted
from storage.demo.install import install_demo
from storage.engines import StoreError

ONE_DAY = dt.timedelta(days=1)

#: Two of its experiments as they might have been registered: four weeks, a lift worth having, and
#: for the checkout a limit to what revenue may lose. The third runs without a plan.
PLANS = (
    ExperimentSettings(
        name=planted.CHECKOUT_V2.name,
        start=planted.CHECKOUT_V2.start,
        end=planted.CHECKOUT_V2.end - ONE_DAY,
        mde=0.1,
        guardrails=(GuardrailSettings(metric="revenue", margin=0.1),),
    ),
    ExperimentSettings(
        name=planted.FREE_DELIVERY_NOTE.name,
        start=planted.FREE_DELIVERY_NOTE.start,
        end=planted.FREE_DELIVERY_NOTE.end - ONE_DAY,
        mde=0.15,
    ),
)

#: The main job on real data; the first words a newcomer reads.
FIRST_QUESTIONS = (
    "kpis last 30 days",
    "segment last 90 days",
    "rules for category bags",
    "ab checkout_v2",
)
NEXT_QUESTIONS = (
    "kpis by country last quarter",
    'rules with item "JUMBO BAG RED RETROSPOT"',
    "ab banner_blue",
    "help",
)


def demo(bot: Bot, pictures: Path, *, quiet: bool = False) -> int:
    """Install (once), answer, draw, and say what to type next."""
    console = Console(highlight=False, width=None if Console().is_terminal else 110)
    try:
        with progress_bar(Console(stderr=True, highlight=False)) as tell:
            report = install_demo(bot.store, tell)
    except StoreError as error:
        raise DataUnavailableError(error.message, hint=error.hint) from error
    if report.real is not None:
        read, refused = report.real.rows_read, report.real.rows_rejected
        console.print(
            f"Loaded {counted(read, 'real line')} of UCI Online Retail (CC BY 4.0), "
            f"{counted(refused, 'line')} rejected by rule; simulated visits, experiments and "
            "ratings around them.",
            markup=False,
        )
    if quiet:
        return 0
    for question in FIRST_QUESTIONS:
        console.print()
        console.print(Rule(f"/ops {question}", style="cyan", align="left"))
        answer = bot.answer(question, surface="demo")
        sys.stdout.write(in_colours(answer, wanted_here(), rows=10))
        for path in write_pictures(drawings(answer.result), pictures):
            console.print(f"Picture: {path}", style="dim", markup=False)
    console.print()
    console.print(Rule("Now you", style="cyan", align="left"))
    console.print("Ask anything of the demo:", markup=False)
    for question in NEXT_QUESTIONS:
        console.print(f"  .venv/bin/python -m bot --demo ask {shlex.quote(question)}", markup=False)
    console.print("Or talk to it, with history and completion:", markup=False)
    console.print("  .venv/bin/python -m bot --demo", markup=False)
    return 0
