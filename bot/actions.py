"""What `python -m bot` can be told to do."""

import argparse
from pathlib import Path

from rich.console import Console

from analytics.catalog import Catalog
from analytics.errors import UserError
from bot import moving, terminal
from bot.config import Settings, StateSettings, StoreSettings, load_settings
from bot.demo import PLANS, demo
from bot.elsewhere import open_bot
from bot.loading import make_totals
from bot.render.docs import commands_page, configuration_page
from bot.setup import Bot
from storage.engines import of_one_process

FOLDER = Path(".daybreak")
PICTURES = FOLDER / "pictures"

DEMO = Settings(
    store=StoreSettings(url=f"duckdb:///{FOLDER / 'demo.duckdb'}"),
    state=StateSettings(url=f"sqlite:///{FOLDER / 'demo-state.sqlite'}"),
    time_zone="Europe/London",
    currency="GBP",
    clock="after data",
    experiments=PLANS,
)


def act(args: argparse.Namespace) -> int:
    """Run one action; the exit status is 0 for done, 2 for refused."""
    try:
        return done(args)
    except UserError as error:
        terminal.say_error(error)
        return terminal.EXIT_REFUSED


def done(args: argparse.Namespace) -> int:
    """Each action with its settings."""
    if args.action == "docs":
        return write_docs(args.to)
    if args.action == "demo":
        return demo(Bot.open(DEMO), args.pictures or PICTURES, quiet=args.quiet)
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
        # imported here: only the prompt needs its package
        from bot.prompt import prompt

        return prompt(bot, FOLDER / "history")
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
