"""Going on in a thread: “by device” after an answer to `kpis` means `kpis by device`."""

import dataclasses
import datetime as dt

from analytics.catalog import Catalog
from analytics.errors import NotUnderstoodError, UserError
from analytics.period import Period
from bot.parse import parse, unparse


def continued(text: str, earlier: str, today: dt.date, catalog: Catalog) -> str:
    """What a text in a thread asks, given the question that the thread last answered.

    A whole question stands for itself. Raises UserError.
    """
    try:
        return parse(text, today, catalog).text
    except NotUnderstoodError as alone:
        try:
            return refined(text, earlier, today, catalog)
        except UserError as together:
            # a misspelt command is that, and no refinement
            better = alone if "Did you mean" in alone.hint else together
            raise better from together


def refined(text: str, earlier: str, today: dt.date, catalog: Catalog) -> str:
    """The earlier question with what the text says in place of what it said. Raises UserError."""
    before = parse(earlier, today, catalog).command
    try:
        said = parse(f"{before.verb()} {text}", today, catalog)
    except UserError:
        if all(f.default is not dataclasses.MISSING for f in dataclasses.fields(before)):
            raise
        # what the command can't do without stands in the earlier question only
        return parse(f"{earlier} {text}", today, catalog).text
    if type(said.command) is not type(before):  # `every monday 9:00`: the earlier one, by the clock
        return parse(f"{earlier} {text}", today, catalog).text
    plain = parse(before.verb(), today, catalog).command
    changed = {
        name: value
        for name, value in vars(said.command).items()
        if value != getattr(plain, name)
        or (isinstance(value, Period) and value.words.casefold() in text.casefold())
    }
    command = unparse(dataclasses.replace(before, **changed))
    return command if said.form == "answer" else f"{command} as {said.form}"
