"""The terminal's prompt: question after question, with history and completion."""

from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from rich.console import Console

from analytics.command import COMMANDS
from bot.parse import FORMS, choices, command_of, field_words
from bot.setup import Bot
from bot.terminal import ask

PERIODS = ("last 7 days", "last 30 days", "last 90 days", "last week", "last month", "this month")


class Words(Completer):
    """Completes verbs, then what the verb's fields can take."""

    def __init__(self, bot: Bot) -> None:
        """Dimensions come from the bot's catalogue."""
        self.dimensions = [d.name for d in bot.catalog.dimensions]

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        """Words that begin with what has been typed of the last one."""
        before = document.text_before_cursor
        word = document.get_word_before_cursor(WORD=True)
        first, space, _rest = before.lstrip().partition(" ")
        behind_by = before[: len(before) - len(word)].endswith((" by ", " per "))
        options = self.after(first, behind_by) if space else sorted(COMMANDS)
        for option in options:
            if option.startswith(word.lower()) and option != word:
                yield Completion(option, start_position=-len(word))

    def after(self, verb: str, behind_by: bool) -> list[str]:
        """What may follow a verb, or its "by"."""
        command = command_of(verb)
        if command is None:
            return []
        if behind_by:
            sayings = command.sayings().values()
            return [*self.dimensions, *(c for a, s in sayings if s.after_by for c in choices(a))]
        words = list(PERIODS)
        for name, (annotation, saying) in command.sayings().items():
            words += choices(annotation) or [w for w in field_words(name, saying) if " " not in w]
        words += [f"by {d}" for d in self.dimensions] + [f"{d}:" for d in self.dimensions]
        return [*words, *(f"as {f}" for f in FORMS)]


def prompt(bot: Bot, history: Path) -> int:
    """Ask and answer until the end of input."""
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)), completer=Words(bot), complete_while_typing=False
    )
    Console(highlight=False).print(
        "Ask me: kpis · segment · rules · ab · help. Tab completes; Ctrl-D ends.", style="cyan"
    )
    while True:
        try:
            text = session.prompt("ops> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if text.strip() in ("exit", "quit"):
            return 0
        if text.strip():
            ask(bot, text)
