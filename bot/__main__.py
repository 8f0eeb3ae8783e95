"""`python -m bot`: the terminal, loading, the demo, the docs and the Slack bot."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analytics.catalog import Catalog
from analytics.errors import UserError
from bot import VERSION, moving, terminal
from bot.config import Settings, StateSettings, StoreSettings, load_settings
from bot.demo import PLANS, demo
from bot.elsewhere import open_bot
from bot.loading import make_totals
from bot.render.docs import commands_page, configuration_page
from bot.setup import Bot
from storage.engines import of_one_process

FOLDER = Path(".daybreak")

DEMO = Settings(
    store=StoreSettings(url=f"duckdb:///{FOLDER / 'demo.duckdb'}"),
    state=StateSettings(url=f"sqlite:///{FOLDER / 'demo-state.sqlite'}"),
    time_zone="Europe/London",
    currency="GBP",
    clock="after data",
    experiments=PLANS,
)


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
    showing.add_argument("--pictures", type=Path, default=FOLDER / "pictures")
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
    try:
        return act(args)
    except UserError as error:
        terminal.say_error(error)
        return terminal.EXIT_REFUSED


def act(args: argparse.Namespace) -> int:
    """Each action with its settings."""
    if args.action == "docs":
        return write_docs(args.to)
    if args.action == "demo":
        return demo(Bot.open(DEMO), args.pictures, quiet=args.quiet)
    if args.action == "copy-store":
        return moving.copy(args.source, args.target)
    settings = DEMO if args.demo else load_settings(settings_path(args.config))
    if args.action == "verify-engine":
        return moving.verify(args.url, settings, fill=args.fill)
    if args.action == "serve":
        # imported here: only the bot in Slack needs Slack's packages
        from bot.slack.serve import serve

        return serve(settings, args.role)
    if args.action == "doctor":
        from bot.slack.doctor import doctor
        from bot.slack.post import web_client

        return doctor(
            settings, lambda token: web_client(token, settings.slack.api_url), live=args.live
        )
    may_open_too = args.action in ("load", "totals") and not of_one_process(settings.store.url)
    bot = Bot.open(settings) if may_open_too else open_bot(settings)
    try:
        if args.action == "ask":
            question = " ".join(args.question)
            return terminal.ask(
                bot, question, as_json=args.json, as_csv=args.csv, pictures=args.png
            )
        if args.action == "load":
            return terminal.load(bot, args.entity, args.files, source=args.source, yes=args.yes)
        if args.action == "totals":
            return make_totals(bot, Console(highlight=False))
        return terminal.prompt(bot, FOLDER / "history")
    finally:
        bot.close()


def settings_path(named: Path | None) -> Path | None:
    """The named file, else config.yaml where there is one."""
    default = Path("config.yaml")
    return named or (default if default.exists() else None)


def write_docs(folder: Path) -> int:
    """The generated pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.md").write_text(commands_page(Catalog()), encoding="utf-8")
    (folder / "configuration.md").write_text(configuration_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
