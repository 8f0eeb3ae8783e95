"""Text -> command, and back.

Grammar. Case does not matter; `-`, `_` and plural do not matter in words of ours; after the verb,
clauses come in any order; fillers ("the", "please", "show me") are passed over.

    question  = verb { clause }                   a verb of two words may be said so: `ab plan`
    clause    = period                            see analytics.period
              | field-word value                  `k 5`, `min-support 1%`, `with item "RED MUG"`,
                                                  `next 90 days`
              | field-name (":" | "=") value      `k:5`
              | "by" (dimension | choice)         `by country`, `by dbscan`
              | choice                            `dbscan`
              | [connector] dimension ["is"] ["not"] value
                                                  `for category bags`, `for segment loyal`
              | dimension (":" | "=" | "!=") value {"," value}
                                                  `where country:France,Germany`
              | trait (">=" | "<=" | ">" | "<" | "=") number
                                                  `where orders >= 5 and spend > 500`
              | "as" ("chart" | "table" | "csv" | "sql")
              | text                              where the command takes one (`ab checkout_v2`)
    schedule  = question "every" when ["to" place]    `kpis every weekday 09:00 to #growth`,
                                                  see bot.when
    connector = "where" | "for" | "in" | "and" | "with" | "on" | "from" | "of"
    value     = word { word } up to the next clause | '"' any text '"'

Nothing is guessed: a word that fits nowhere is refused, with what it was probably meant to be.
`parse(unparse(c), today)` gives `c` again for every command. A command's choices are words of one
field each, so that a choice can be said alone.
"""

import dataclasses
import datetime as dt
import functools
import itertools
import re
import types
import typing
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from analytics.catalog import DIMENSIONS, SEGMENT, Catalog, Dimension
from analytics.command import COMMANDS, Command, FieldUnit, Saying
from analytics.errors import NotUnderstoodError, UnknownNameError, either, nearest
from analytics.habits import SAID, TRAITS, Condition, Conditions, Operator
from analytics.period import MONTHS, Period, parse_period, read_period
from analytics.scope import Filter, Filters
from bot.when import When, read_place, read_when, read_when_in

Form = Literal["answer", "chart", "table", "csv", "sql"]
FORMS: tuple[Form, ...] = ("chart", "table", "csv", "sql")

MAX_CHARACTERS = 1_000

#: The longest name of a metric, and of a command (`segment save`), in words.
METRIC_WORDS = 6
VERB_WORDS = 2

FILLERS = frozenset(
    "a all an and are at be can could do does for from get give hey hi i in is it me my now of on "
    "our please run show tell that the there this to us was we were what where which with would "
    "you your".split()
)
CONNECTORS = frozenset("where for in and with on from of".split())
PERIOD_STARTS = frozenset("last past previous this since from between today yesterday all".split())

EQUALS = {"is", "=", ":"}
DIFFERS = {"not", "except", "!="}

#: What parts a question from the times at which to ask it.
EVERY = "every"
SCHEDULE, SCHEDULE_ADD = "schedule", "schedule-add"
EVERY_EXAMPLE = "Try `kpis every weekday 09:00 Europe/Berlin to #growth`."

#: `orders >= 5`, as it may be spaced.
SIGNS: dict[str, Operator] = {
    ">=": ">=", "≥": ">=", "<=": "<=", "≤": "<=", ">": ">", "<": "<", "=": "=",
}  # fmt: skip
BOUND = re.compile(
    r"(?P<trait>[A-Za-z]+) ?(?P<sign>>=|<=|[≥≤><=]) ?(?P<number>[\d.,]+( ?%)?)(?= |$)"
)

QUOTES = '"“”„«»'
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


@dataclass(frozen=True)
class Request:
    """What was asked: the command, and the form in which to show the answer."""

    command: Command
    form: Form = "answer"

    @property
    def text(self) -> str:
        """The canonical text, which parses to this request again."""
        said = unparse(self.command)
        return said if self.form == "answer" else f"{said} as {self.form}"


@dataclass(frozen=True)
class Token:
    """A word, or a key with values; `quoted` marks its characters that stood in quotes."""

    text: str
    quoted: tuple[bool, ...]

    @property
    def is_quoted(self) -> bool:
        """Whether it was said in quotes as a whole: never a keyword."""
        return bool(self.quoted) and all(self.quoted)

    def stripped(self) -> "Token":
        """Without blanks at its ends, which only quotes can bring."""
        start = len(self.text) - len(self.text.lstrip())
        end = len(self.text.rstrip())
        return Token(self.text[start:end], self.quoted[start:end])

    def split_key(self) -> tuple[str, str, "Token"] | None:
        """`country:France` as key, operator and value; None for a plain word."""
        for i, (char, quoted) in enumerate(zip(self.text, self.quoted, strict=True)):
            if quoted:
                return None
            pair = self.text[i : i + 2] if not any(self.quoted[i : i + 2]) else char
            if char in ":=" or pair == "!=":
                width = 2 if pair in ("!=", "==", ":=") else 1
                rest = Token(self.text[i + width :], self.quoted[i + width :]).stripped()
                return (self.text[:i], "!=" if char == "!" else "=", rest) if i else None
        return None

    def split_values(self) -> tuple[str, ...]:
        """Values between commas that are not in quotes."""
        values = [""]
        for char, quoted in zip(self.text, self.quoted, strict=True):
            if char == "," and not quoted:
                values.append("")
            else:
                values[-1] += char
        return tuple(v.strip() for v in values if v.strip())


def clean(text: str) -> str:
    """Typed text without what can't be typed on purpose: control, bidi and zero-width characters.

    Raises NotUnderstoodError where it is too long, before and after normalising.
    """
    for stage in (text, folded := unicodedata.normalize("NFKC", text[: 4 * MAX_CHARACTERS])):
        if len(stage) > MAX_CHARACTERS:
            raise NotUnderstoodError(
                f"The question is too long: {len(stage):,} characters.",
                hint=f"{MAX_CHARACTERS:,} is the most.",
            )
    kept = (" " if c.isspace() else c for c in folded)
    return "".join(c for c in kept if unicodedata.category(c) not in INVISIBLE).strip()


def tokens(text: str) -> list[Token]:
    """Words; quotes keep blanks together, and `\\"` is a quote inside quotes."""
    found: list[Token] = []
    chars: list[str] = []
    marks: list[bool] = []
    closers, opened = "", False
    i = 0

    def close() -> None:
        if chars or opened:
            found.append(Token("".join(chars), tuple(marks)))

    while i < len(text):
        char = text[i]
        if closers and char == "\\" and text[i + 1 : i + 2] in ('"', "\\"):
            chars.append(text[i + 1])
            marks.append(True)
            i += 2
            continue
        if closers and char in closers:
            closers = ""
        elif not closers and char in QUOTES:
            closers, opened = '"' if char == '"' else QUOTES, True
        elif char.isspace() and not closers:
            close()
            chars, marks, opened = [], [], False
        else:
            chars.append(char)
            marks.append(bool(closers))
        i += 1
    if closers:
        raise NotUnderstoodError("A quote is opened and not closed.", hint='Close it with ".')
    close()
    return [t for t in map(without_punctuation, found) if t.text]


def without_punctuation(token: Token) -> Token:
    """`bags?` and `bags,` are `bags`: marks at the end of a word that is not in quotes."""
    end = len(token.text)
    while end and token.text[end - 1] in "?!,;." and not token.quoted[end - 1]:
        end -= 1
    return Token(token.text[:end], token.quoted[:end]).stripped()


@functools.lru_cache(maxsize=4096)
def fold(word: str) -> str:
    """A word of ours in one spelling: no case, hyphens or plural."""
    word = re.sub(r"[-_\s]", "", word.casefold())
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


#: The words for traits of people, folded.
TRAIT_WORDS = {fold(word): word for word in SAID}


def verbs() -> dict[str, type[Command]]:
    """Every word that names a command, folded."""
    found: dict[str, type[Command]] = {}
    for name, command in sorted(COMMANDS.items()):
        for word in (name, *command.aliases):
            found[fold(word)] = command
    return found


def command_of(word: str) -> type[Command] | None:
    """The command that a word names: its verb first, then what is meant by it."""
    return COMMANDS.get(word.casefold()) or verbs().get(fold(word))


def command_called(name: str) -> str | None:
    """The verb that a name means, or the beginning of several (`schedule`); None: neither."""
    beginnings = {fold(verb): verb for verb in (v.partition("-")[0] for v in COMMANDS if "-" in v)}
    command = verbs().get(fold(name))
    return beginnings.get(fold(name)) or (command.verb() if command else None)


def parse(text: str, today: dt.date, catalog: Catalog) -> Request:
    """The request that a text makes. Raises UserError with what to do instead."""
    words = tokens(clean(text))
    known = verbs()
    start = 0
    while (
        start < len(words) - 1 and _is_filler(words[start]) and fold(words[start].text) not in known
    ):
        start += 1
    if not words:
        raise NotUnderstoodError("You asked nothing yet.", hint="Try `help`.")
    cut = next((i for i in range(start + 1, len(words)) if _is_word(words[i], EVERY)), None)
    if cut is not None:
        return _schedule(words[start:cut], words[cut + 1 :], today, catalog)
    command, rest = _verb(words[start:])
    return _Reader(command, rest, today, catalog).read()


def _verb(words: Sequence[Token]) -> tuple[type[Command], Sequence[Token]]:
    """The command that the words begin with, and the words behind it."""
    for end in range(min(VERB_WORDS, len(words)), 0, -1):
        said = words[:end]
        joined = "".join(w.text for w in said)
        command = command_of(joined)
        if command is not None and not any(w.is_quoted for w in said):
            return command, words[end:]
    raise _unknown_verb(words[0].text)


def _schedule(
    before: Sequence[Token], behind: Sequence[Token], today: dt.date, catalog: Catalog
) -> Request:
    """What stands before and behind "every": a question to ask at those times.

    A command that takes times itself (`schedule edit 3 every monday 08:00`) gets them.
    """
    when, place, form = _tail(behind)
    times: dict[str, Any] = {"every": when.words} | ({"to": place} if place else {})
    known = verbs()
    try:
        command, rest = _verb(before)
    except NotUnderstoodError:
        # `schedule digest every …` says the verb of the list before the question
        if len(before) < 2 or not _is_word(before[0], SCHEDULE):
            raise
        command, rest = _verb(before[1:])
    scheduling = known[fold(SCHEDULE_ADD)]
    if command is known.get(SCHEDULE) and rest:
        command, rest = _verb(rest)
    elif command is scheduling:
        inner = tokens(rest[0].text) if len(rest) == 1 and rest[0].is_quoted else rest
        if not inner:
            raise NotUnderstoodError("What shall I ask then?", hint=scheduling.examples[0])
        command, rest = _verb(inner)
    if "every" in command.sayings() and command is not scheduling:
        return _Reader(command, rest, today, catalog).read(times)
    asked = _Reader(command, [*rest, *form], today, catalog).read()
    return Request(scheduling(**{"question": asked.text, **times}))


def _tail(words: Sequence[Token]) -> tuple[When, str, Sequence[Token]]:
    """Times, place (canonical, empty where none is said), and `as csv` at the end."""
    plain_words = [w.text for w in words]
    form: Sequence[Token] = ()
    if len(words) > 1 and _is_word(words[-2], "as"):
        form, plain_words = words[-2:], plain_words[:-2]
    to = [i for i, word in enumerate(plain_words) if word.casefold() == "to"]
    if len(to) > 1:
        raise NotUnderstoodError("Say one place to post to.", hint=EVERY_EXAMPLE)
    if not to:
        return read_when(plain_words), "", form
    place = plain_words[to[0] + 1 : to[0] + 2]
    if not place:
        raise NotUnderstoodError("Where to?", hint="Say `to #growth`, or `to me`.")
    when, rest = read_when_in(plain_words[: to[0]] + plain_words[to[0] + 2 :])
    if rest:
        raise NotUnderstoodError(
            f"I don't understand “{shown(rest[0])}” in a schedule.", hint=EVERY_EXAMPLE
        )
    return when, read_place(place[0]).words, form


def _is_word(token: Token, word: str) -> bool:
    """Whether it is this word of ours, and not in quotes."""
    return not token.is_quoted and fold(token.text) == word


def read_part(
    command: type[Command], text: str, today: dt.date, catalog: Catalog
) -> dict[str, Any]:
    """The fields that clauses without their verb set: `country:France`. Raises UserError."""
    return _Reader(command, tokens(clean(text)), today, catalog).clauses()


def _unknown_verb(word: str) -> NotUnderstoodError:
    names = sorted(COMMANDS)
    aliases = {a: n for n, c in COMMANDS.items() for a in c.aliases}
    near = nearest(word, [*names, *aliases])
    if near:
        hint = (
            f"Did you mean {either(list(dict.fromkeys(f'`{aliases.get(n, n)}`' for n in near)))}?"
        )
    else:
        hint = f"I answer {either([f'`{n}`' for n in names])}; say `help` for more."
    return NotUnderstoodError(f"I don't know the command “{shown(word)}”.", hint=hint)


def shown(word: str) -> str:
    """A word of the asker's, short enough to repeat."""
    return word if len(word) <= 40 else word[:39] + "…"


def _is_filler(token: Token) -> bool:
    return not token.is_quoted and token.text.casefold() in FILLERS


def kinds(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation without None: `int | None` is `(int,)`."""
    if get_origin(annotation) in (types.UnionType, typing.Union):
        return tuple(a for a in get_args(annotation) if a is not type(None))
    return (annotation,)


def choices(annotation: Any) -> tuple[str, ...]:
    """The words of a Literal field, else none."""
    for kind in kinds(annotation):
        if get_origin(kind) is Literal:
            return get_args(kind)
    return ()


def field_words(name: str, saying: Saying) -> tuple[str, ...]:
    """What introduces a field's value: its own words and its name."""
    return tuple(dict.fromkeys((*saying.words, name.replace("_", "-"))))


class _Reader:
    """Reads the clauses behind one verb into a command's fields."""

    def __init__(
        self, command: type[Command], words: Sequence[Token], today: dt.date, catalog: Catalog
    ) -> None:
        self.command = command
        self.words = words
        self.today = today
        self.fields = command.sayings()
        # `help segment` asks for the command: a text of its own, and nothing to narrow
        narrows = self.name_of(Filters) or self.text_field() is None
        dimensions = (*catalog.dimensions, SEGMENT) if narrows else catalog.dimensions
        self.dimensions = {fold(word): d for d in dimensions for word in (d.name, *d.aliases)}
        self.metrics = {
            fold(word): m.name for m in catalog.metrics for word in (m.name, m.label, *m.aliases)
        }
        self.digests = {fold(d.name): d.name for d in catalog.digests}
        self.metric_names = [w for m in catalog.metrics for w in (m.name, *m.aliases)]
        self.phrases: dict[str, str] = {}
        for name, (annotation, saying) in self.fields.items():
            if kinds(annotation)[0] not in (Period, Filters, Dimension, Conditions):
                for phrase in field_words(name, saying):
                    self.phrases[fold(phrase)] = name
        self.pairs = {
            fold(c) for a, _ in self.fields.values() for c in choices(a) if "-" in c
        }  # choices that may be said in two words
        self.chosen = {fold(c) for a, _ in self.fields.values() for c in choices(a)}
        self.values: dict[str, Any] = {}
        self.filters: list[Filter] = []
        self.conditions: list[Condition] = []
        self.form: Form = "answer"

    def read(self, given: dict[str, Any] | None = None) -> Request:
        """All clauses; `given` fields were read already."""
        for name, value in (given or {}).items():
            self.set(name, value, name)
        self.clauses()
        return Request(self.built(), self.form)

    def clauses(self) -> dict[str, Any]:
        """What the words set, field by field."""
        i = 0
        while i < len(self.words):
            i = self.clause(i)
        if self.filters:
            self.values[self.name_of(Filters)] = Filters(tuple(self.filters))
        if self.conditions:
            self.values[self.name_of(Conditions)] = Conditions(tuple(self.conditions))
        return self.values

    # -- clauses: each takes a position, and gives the next one, or None where it does not fit

    def clause(self, i: int) -> int:
        for reader in (
            self.condition, self.keyed, self.field, self.shape, self.by, self.period, self.choice,
            self.filter,
        ):  # fmt: skip
            after = reader(i)
            if after is not None:
                return after
        if _is_filler(self.words[i]):
            return i + 1
        after = self.positional(i)
        if after is not None:
            return after
        raise self.stranger(i)

    def condition(self, i: int) -> int | None:
        """`orders >= 5`, `spend>500`: a trait of people, a sign and a number."""
        found = self.bound_at(i)
        if found is None:
            return None
        trait, operator, said, after = found
        unit: FieldUnit = "share" if TRAITS[SAID[trait]].unit == "share" else "number"
        saying = Saying(f"{trait} to ask for", (), False, False, unit, 0, None, None)
        value = read_value(trait, float, saying, said)
        condition = Condition(trait, operator, value)
        if condition not in self.conditions:
            self.conditions.append(condition)
        return after

    def bound_at(self, i: int) -> tuple[str, Operator, str, int] | None:
        """Trait, sign, number and the place behind them; None where no bound begins."""
        plain_words = itertools.takewhile(lambda t: not t.is_quoted, self.words[i : i + 4])
        span = [t.text for t in plain_words]
        match = BOUND.match(" ".join(span)) if self.name_of(Conditions) else None
        if match is None or fold(match["trait"]) not in TRAIT_WORDS:
            return None
        n = next(n for n in range(1, 5) if len(" ".join(span[:n])) >= match.end())
        trait = TRAIT_WORDS[fold(match["trait"])]
        return trait, SIGNS[match["sign"]], match["number"].replace(" ", ""), i + n

    def keyed(self, i: int) -> int | None:
        """`country:France`, `k=5`; the value may be the next word (`country: France`)."""
        parts = self.words[i].split_key()
        if parts is None:
            return None
        key, operator, value = parts
        after = i + 1
        if not value.text and not value.quoted and after < len(self.words):
            value, after = self.words[after], after + 1
        if not value.split_values():
            raise NotUnderstoodError(f"“{shown(key)}” needs a value.", hint=self.example())
        folded = fold(key)
        if folded in self.phrases and operator == "=":
            self.set_field(self.phrases[folded], value.text)
            return after
        if folded in self.dimensions:
            self.add_filter(self.dimensions[folded], value.split_values(), operator == "!=")
            return after
        if folded in ("period", "time", "when") and self.name_of(Period):
            self.set(self.name_of(Period), parse_period(value.text, self.today), "period")
            return after
        raise self.unknown("field or dimension", key, [*self.sayable(), "period"])

    def field(self, i: int) -> int | None:
        """`min-support 1 %`: one to three words that name a field, then its value."""
        for n in (3, 2, 1):
            name = self.phrases.get(self.joined(i, n)) if i + n <= len(self.words) else None
            if name is None:
                continue
            if self.fields[name][1].positional and i + n >= len(self.words):
                return None
            annotation, saying = self.fields[name]
            if saying.unit == "metric" and i + n < len(self.words):
                return self.metric(name, i + n)
            if saying.unit == "hours" and i + n < len(self.words):  # 22:00 is no field named 22
                self.set_field(name, self.words[i + n].text)
                return i + n + 1
            said, after = self.value(i + n, many=str in kinds(annotation))
            if saying.unit == "days" and after < len(self.words):
                after += self.joined(after, 1) == "day"
            if said is None:
                raise NotUnderstoodError(
                    f"“{name.replace('_', '-')}” needs a value.", hint=self.example()
                )
            self.set_field(name, said)
            return after
        return None

    def joined(self, i: int, n: int) -> str:
        """Folded words i..i+n as one, "" where one is in quotes."""
        span = self.words[i : i + n]
        return "" if any(t.is_quoted for t in span) else fold("".join(t.text for t in span))

    def shape(self, i: int) -> int | None:
        """`as csv`."""
        if self.joined(i, 1) != "as":
            return None
        word = self.words[i + 1].text.casefold() if i + 1 < len(self.words) else ""
        for form in FORMS:
            if fold(form) == fold(word):
                self.form = form
                return i + 2
        raise UnknownNameError("form", shown(word), FORMS)

    def by(self, i: int) -> int | None:
        """`by country`, `by dbscan`."""
        if self.joined(i, 1) not in ("by", "per"):
            return None
        words = {
            fold(choice): (name, choice)
            for name, (annotation, saying) in self.fields.items()
            if saying.after_by
            for choice in choices(annotation)
        }
        folded = self.joined(i + 1, 1) if i + 1 < len(self.words) else ""
        if folded in words:
            name, choice = words[folded]
            self.set(name, choice, name)
            return i + 2
        dimension = self.name_of(Dimension)
        if dimension and folded in self.dimensions:
            self.set(dimension, self.dimensions[folded], "dimension")
            return i + 2
        can = [c for _, c in words.values()]
        if dimension:
            can += sorted({d.name for d in self.dimensions.values()})
        if not can:
            raise NotUnderstoodError(
                f"`{self.command.verb()}` can't be split by anything.", hint=self.example()
            )
        word = self.words[i + 1].text if i + 1 < len(self.words) else ""
        raise UnknownNameError("dimension", shown(word), can)

    def period(self, i: int) -> int | None:
        """A period of days."""
        span: list[str] = []
        for token in self.words[i : i + 8]:
            if token.is_quoted:
                break
            span.append(token.text)
        found = read_period(span, self.today)
        if found is None:
            return None
        period, n = found
        name = self.name_of(Period)
        if not name:
            raise NotUnderstoodError(
                f"`{self.command.verb()}` takes no period.", hint=self.example()
            )
        self.set(name, period, "period")
        return i + n

    def choice(self, i: int) -> int | None:
        """A word of a Literal field, alone; `new-items` may be said `new items`."""
        for n in (2, 1):
            folded = self.joined(i, n) if i + n <= len(self.words) else ""
            narrows = folded in self.dimensions and i + n < len(self.words)
            if narrows and not self.begins_clause(i + n):  # `top items for category bags`
                continue
            for name, (annotation, _) in self.fields.items():
                for word in choices(annotation):
                    if folded == fold(word):
                        self.set(name, word, name)
                        return i + n
        return None

    def filter(self, i: int) -> int | None:
        """`for category lunch bags`: a dimension, then its value up to the next clause."""
        folded = self.joined(i, 1)
        if folded in self.dimensions and self.is_target(i):
            self.set(self.text_field() or "", self.dimensions[folded].name, "target")
            return i + 1
        if folded in self.dimensions:
            j, negated = i + 1, False
            while j < len(self.words) and self.joined(j, 1) in EQUALS | DIFFERS:
                negated |= self.joined(j, 1) in DIFFERS
                j += 1
            token = self.words[j] if j < len(self.words) else None
            if token is not None and not token.is_quoted and "," in token.text:
                self.add_filter(self.dimensions[folded], token.split_values(), negated)
                return j + 1
            said, after = self.value(j, many=True)
            if said is None:
                raise NotUnderstoodError(
                    f"“{self.words[i].text}” needs a value.", hint=self.example()
                )
            self.add_filter(self.dimensions[folded], (said,), negated)
            return after
        connector = self.words[i].text.casefold() in ("where", "for") and folded
        if connector and i + 1 < len(self.words) and not self.begins_clause(i + 1):
            if _is_filler(self.words[i + 1]):
                return None
            names = sorted({d.name for d in self.dimensions.values()})
            word = self.words[i + 1].text
            if nearest(word, names) and (i + 2 < len(self.words) or not self.takes_text()):
                raise UnknownNameError("dimension", shown(word), names)
            if self.takes_text():
                return None
            raise NotUnderstoodError(
                f"I don't know what “{shown(word)}” is.",
                hint=f"Say of what: `{self.words[i].text} {names[0]} {shown(word)}`; "
                f"the dimensions are {either(names)}.",
            )
        return None

    def positional(self, i: int) -> int | None:
        """The text that stands alone."""
        name = self.text_field()
        if name is None or (name in self.values and not self.takes_many(name)):
            return None
        if self.fields[name][1].unit == "metric":
            return self.metric(name, i)
        self.set_field(name, self.words[i].text)
        return i + 1

    def metric(self, name: str, i: int) -> int:
        """The longest run of words that is a metric's name, label or alias (`orders per buyer`)."""
        for n in range(min(METRIC_WORDS, len(self.words) - i), 0, -1):
            joined = fold("".join(t.text for t in self.words[i : i + n]))
            known = self.metrics.get(joined)
            if self.takes_many(name):
                known = known or self.digests.get(joined)
            if known:
                self.set(name, (known,) if self.takes_many(name) else known, name)
                return i + n
        said, _ = self.value(i, many=True)
        raise UnknownNameError("metric", shown(said or self.words[i].text), list(self.metric_names))

    def stranger(self, i: int) -> NotUnderstoodError | UnknownNameError:
        """A word that fits nowhere."""
        word = self.words[i].text
        near = nearest(word, [*self.sayable(), *sorted(PERIOD_STARTS - FILLERS), "by", "as"])
        hint = f"Did you mean {either([f'`{n}`' for n in near])}?" if near else self.example()
        return NotUnderstoodError(
            f"I don't understand “{shown(word)}” in a `{self.command.verb()}` question.", hint=hint
        )

    # -- parts

    def value(self, i: int, *, many: bool) -> tuple[str | None, int]:
        """The value that begins at `i`: one token, or all up to the next clause."""
        if i >= len(self.words):
            return None, i
        if self.words[i].is_quoted:
            return self.words[i].text, i + 1
        if not many:
            said, after = self.words[i].text, i + 1
            if after < len(self.words) and self.words[after].text == "%":
                return said + "%", after + 1
            return said, after
        j = i
        while j < len(self.words) and not self.words[j].is_quoted and not self.begins_clause(j):
            if j > i and self.joined(j, 1) in self.chosen:  # `for country France anyway`
                break
            j += 1
        return (" ".join(t.text for t in self.words[i:j]), j) if j > i else (None, i)

    def begins_clause(self, i: int) -> bool:
        """Whether a clause that is no bare text begins here."""
        token = self.words[i]
        if token.is_quoted:
            return False
        if token.split_key() or self.joined(i, 1) in ("by", "per") or self.bound_at(i):
            return True
        if token.text.casefold() == "as" and i + 1 < len(self.words):
            return any(fold(f) == self.joined(i + 1, 1) for f in FORMS)
        if any(self.joined(i, n) in self.phrases for n in (1, 2, 3) if i + n <= len(self.words)):
            return True
        if self.joined(i, 1) in self.dimensions or self.joined(i, 2) in self.pairs:
            return True
        if token.text.casefold() in CONNECTORS and i + 1 < len(self.words):
            return self.begins_clause(i + 1)
        plain_words = [t.text for t in self.words[i : i + 8]]
        try:
            return read_period(plain_words, self.today) is not None
        except NotUnderstoodError:
            return True

    def set_field(self, name: str, said: str) -> None:
        annotation, saying = self.fields[name]
        if self.takes_many(name):
            for part in filter(None, (p.strip() for p in said.split(","))):
                known = self.metrics.get(fold(part)) or self.digests.get(fold(part))
                if known is None:
                    raise UnknownNameError("metric", shown(part), self.metric_names)
                self.set(name, (known,), name)
            return
        if saying.unit == "metric":
            if fold(said) not in self.metrics:
                raise UnknownNameError("metric", shown(said), self.metric_names)
            said = self.metrics[fold(said)]
        self.set(name, read_value(name, annotation, saying, said), name)

    def takes_many(self, name: str) -> bool:
        """Whether a field holds several texts."""
        return get_origin(self.fields[name][0]) is tuple

    def set(self, name: str, value: Any, what: str) -> None:
        if self.takes_many(name):
            earlier = self.values.get(name, ())
            self.values[name] = (*earlier, *(v for v in value if v not in earlier))
            return
        if name in self.values and self.values[name] != value:
            a, b = (getattr(v, "words", getattr(v, "name", v)) for v in (self.values[name], value))
            raise NotUnderstoodError(
                f"You said {what.replace('_', '-')} twice: “{a}” and “{b}”.", hint="Say one."
            )
        self.values[name] = value

    def add_filter(self, dimension: Dimension, values: tuple[str, ...], negated: bool) -> None:
        if not self.name_of(Filters):
            raise NotUnderstoodError(
                f"`{self.command.verb()}` can't be narrowed by {dimension.name}.",
                hint=self.example(),
            )
        found = Filter(dimension.name, values, negated)
        if found not in self.filters:
            self.filters.append(found)

    def name_of(self, kind: type) -> str:
        """The field of this kind, "" where there is none."""
        return next((n for n, (a, _) in self.fields.items() if kinds(a)[0] is kind), "")

    def text_field(self) -> str | None:
        return next((n for n, (_, s) in self.fields.items() if s.positional), None)

    def is_target(self, i: int) -> bool:
        """Whether a dimension stands without a value, where one may be asked about by its name."""
        name = self.text_field()
        wanted = name is not None and self.fields[name][1].unit == "target"
        alone = i + 1 == len(self.words) or self.begins_clause(i + 1)
        return wanted and name not in self.values and alone

    def takes_text(self) -> bool:
        name = self.text_field()
        return name is not None and name not in self.values

    def sayable(self) -> list[str]:
        """Every word that has a meaning for this command."""
        words = [
            w
            for n, (a, s) in self.fields.items()
            if kinds(a)[0] not in (Period, Filters, Dimension, Conditions)
            for w in field_words(n, s)
        ]
        words += list(SAID) if self.name_of(Conditions) else []
        words += [c for a, _ in self.fields.values() for c in choices(a)]
        if self.name_of(Filters) or self.name_of(Dimension):
            words += [d.name for d in self.dimensions.values()]
        return list(dict.fromkeys(words))

    def unknown(self, kind: str, word: str, known: Iterable[str]) -> UnknownNameError:
        return UnknownNameError(kind, shown(word), list(known))

    def example(self) -> str:
        return f"Try `{self.command.examples[0]}`."

    def built(self) -> Command:
        """The command; a period that was not said has its default's words, read today."""
        for name, (annotation, saying) in self.fields.items():
            if name in self.values:
                continue
            if saying.default is dataclasses.MISSING:
                raise NotUnderstoodError(
                    f"`{self.command.verb()}` needs to know: {saying.help}.", hint=self.example()
                )
            if kinds(annotation)[0] is Period and isinstance(saying.default, str):
                self.values[name] = parse_period(saying.default, self.today)
        return self.command(**self.values)


def read_value(name: str, annotation: Any, saying: Saying, said: str) -> Any:
    """A field's value from its text. Raises NotUnderstoodError or UnknownNameError."""
    word = name.replace("_", "-")
    options = choices(annotation)
    if options:
        for option in options:
            if fold(option) == fold(said):
                return option
        raise UnknownNameError(word, shown(said), options)
    kind = kinds(annotation)[0]
    if kind is str:
        match saying.unit:
            case "when":
                return read_when(said.split()).words
            case "place":
                return read_place(said).words
            case _:
                return said
    short = re.fullmatch(r"(\d+)d", said.casefold()) if saying.unit == "days" else None
    number = _number(short[1] if short else said, saying)
    if number is None:
        raise NotUnderstoodError(
            f"{word} “{shown(said)}” is not a number.", hint=f"Say `{word} {_typical(saying)}`."
        )
    if kind is int:
        if number != int(number):
            raise NotUnderstoodError(f"{word} must be a whole number, not {shown(said)}.")
        number = int(number)
    low, high = saying.low, saying.high
    if (low is not None and number < low) or (high is not None and number > high):
        raise NotUnderstoodError(
            f"{word} must be {_bounds(saying)}, not {shown(said)}.",
            hint=f"Say `{word} {_typical(saying)}`.",
        )
    return number


def _number(said: str, saying: Saying) -> float | None:
    text = said.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", said) else said
    match = re.fullmatch(r"(-?(?:\d{1,15}(?:\.\d{0,25})?|\.\d{1,25})(?:e-?\d{1,2})?)\s*(%?)", text)
    if match is None or (match[2] and saying.unit != "share"):
        return None
    return float(match[1]) / 100 if match[2] else float(match[1])


def _words_of(bound: float, saying: Saying) -> str:
    return f"{bound * 100:g} %" if saying.unit == "share" else f"{bound:g}"


def _bounds(saying: Saying) -> str:
    if saying.low is None:
        return f"at most {_words_of(saying.high or 0, saying)}"
    if saying.high is None:
        return f"at least {_words_of(saying.low, saying)}"
    return f"between {_words_of(saying.low, saying)} and {_words_of(saying.high, saying)}"


def _typical(saying: Saying) -> str:
    if isinstance(saying.default, int | float):
        return _words_of(saying.default, saying).replace(" ", "")
    return _words_of(saying.low if saying.low is not None else 5, saying).replace(" ", "")


def unparse(command: Command) -> str:
    """The canonical text of a command."""
    parts = [command.verb()]
    for name, (annotation, saying) in command.sayings().items():
        value = getattr(command, name)
        kind = kinds(annotation)[0]
        if isinstance(value, Period):
            parts.append(value.words)
        elif value is None or value == saying.default:
            continue
        elif saying.positional and saying.unit == "question":
            parts = [value]  # said as it is, with the times behind it
        elif saying.unit in ("when", "place"):
            parts.append(f"{field_words(name, saying)[0]} {value}")
        elif saying.positional and kind is int:
            parts.insert(1, number_said(value))
        elif isinstance(value, Filters):
            parts += _filter_words(value)
        elif isinstance(value, Conditions):
            parts.append(f"where {value.said()}")
        elif isinstance(value, Dimension):
            parts.append(f"by {value.name}")
        elif saying.positional and isinstance(value, tuple):
            parts.insert(1, ", ".join(value))
        elif saying.positional:
            parts.insert(1, quoted(value, own_words(command)))
        elif choices(annotation):
            parts.append(f"by {value}" if saying.after_by else value)
        else:
            said = in_quotes(value) if kind is str else number_said(value)
            if saying.unit == "days":
                said += " day" if value == 1 else " days"
            parts.append(f"{field_words(name, saying)[0]} {said}")
    return " ".join(parts)


def number_said(value: float) -> str:
    """A number as short as it reads back exactly."""
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)


def own_words(command: Command) -> frozenset[str]:
    """The folded words that mean a field or choice of this command."""
    return frozenset(
        fold(word)
        for name, (annotation, saying) in command.sayings().items()
        for word in (*field_words(name, saying), *choices(annotation))
    )


def filters_said(filters: Filters) -> str:
    """Filters as they are said, without the `where` before them."""
    return " ".join(_filter_words(filters)).removeprefix("where ")


def _filter_words(filters: Filters) -> list[str]:
    words = []
    for i, f in enumerate(filters):
        operator = "!=" if f.negated else ":"
        words.append("and" if i else "where")
        words.append(f"{f.dimension}{operator}{','.join(map(quoted, f.values))}")
    return words


RESERVED = (
    FILLERS
    | CONNECTORS
    | PERIOD_STARTS
    | set(MONTHS)
    | {"by", "per", "as", "not", "except", EVERY}
    | {fold(w) for d in (*DIMENSIONS, SEGMENT) for w in (d.name, *d.aliases)}
)


def quoted(value: str, reserved: frozenset[str] = frozenset()) -> str:
    """In quotes, unless it is one plain word that can't be read as anything else."""
    plain_word = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9_]", value)
    taken = {value.casefold(), fold(value)} & (RESERVED | reserved)
    quarter = re.fullmatch(r"(?i)q\d", value)
    return value if plain_word and not taken and not quarter else in_quotes(value)


def in_quotes(value: str) -> str:
    """In quotes, with quotes inside it escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
