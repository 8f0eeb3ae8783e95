"""All questions on a copy of the demo, as JSON: run in a process with another DuckDB.

`python -m tests.engines.answers FILE`
"""

import json
import sys

import duckdb

from bot.moving import questions, told
from storage.store import Store
from tests.shop import shop_context


def answers(file: str) -> dict[str, object]:
    """Question -> answer, and the version of DuckDB under an empty question."""
    ctx = shop_context(Store.open(f"duckdb:///{file}"))
    return {"": duckdb.__version__, **{text: told(text, ctx)[0] for text in questions()}}


if __name__ == "__main__":
    print(json.dumps(answers(sys.argv[1])))
