"""`python -m bot`: the terminal, loading, the demo, the docs and the Slack bot."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from bot import VERSION


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bot", description=__doc__)
    parser.add_argument("--version", action="version", version=f"Daybreak {VERSION}")
    parser.add_argument("--config", type=Path, help="settings file (default: config.yaml)")
    parser.add_argument("--demo", action="store_true", help="use the demo's store and settings")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    ask = actions.add_parser("ask", help="answer one question")
    ask.add_argument("question", nargs="+", help='such as "kpis last 30 days"')
    ask.add_argument("--json", action="store_true", help="the answer as JSON")
    ask.add_argument("--csv", action="store_true", help="the tables as CSV")
    ask.add_argument(
        "--png", type=Path, metavar="PATH", help="write the charts to a file or folder"
    )

    loading = actions.add_parser("load", help="load files into the store")
    loading.add_argument("entity", help="orders, events, people, ... or a recipe of config.yaml")
    loading.add_argument("files", nargs="+", type=Path, metavar="FILE")
    loading.add_argument(
        "--source", help="what to call these rows' origin (default: the file's name)"
    )
    loading.add_argument(
        "--yes", action="store_true", help="take the proposed mapping without asking"
    )

    showing = actions.add_parser("demo", help="install the demo and answer its first questions")
    showing.add_argument("--pictures", type=Path, metavar="FOLDER", help="where they are written")
    showing.add_argument("--quiet", action="store_true", help="install only")

    actions.add_parser("totals", help="make the totals per day anew, as the next load would")

    copying = actions.add_parser("copy-store", help="copy one store into another")
    copying.add_argument("source", metavar="FROM", help="URL of a store, as in store.url")
    copying.add_argument("target", metavar="TO", help="URL of an empty store, or of a begun copy")

    verifying = actions.add_parser("verify-engine", help="ask an engine all that DuckDB is asked")
    verifying.add_argument("url", metavar="URL", help="of a store with data, as in store.url")
    verifying.add_argument(
        "--fill", action="store_true", help="fill an empty store with the demo's data first"
    )

    serving = actions.add_parser("serve", help="run the Slack bot")
    serving.add_argument(
        "--role", choices=("all", "edge", "analyst"), default="all", help="one process of it alone"
    )
    checking = actions.add_parser("doctor", help="say what keeps the bot from its work")
    checking.add_argument(
        "--live", action="store_true", help="have Slack judge each kind of message, posting none"
    )
    docs = actions.add_parser("docs", help="write docs/commands.md and docs/configuration.md")
    docs.add_argument("--to", type=Path, default=Path("docs"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one action; the exit status is 0 for done, 2 for refused."""
    args = arguments().parse_args(argv)
    logging.basicConfig(level=logging.CRITICAL if args.action != "serve" else logging.INFO)
    # imported here: `--help` and a misspelt action can do without all that answers
    from bot.actions import act

    return act(args)


if __name__ == "__main__":
    sys.exit(main())
