"""Log lines carry the id that is followed, and no secret."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from bot import logs, trail
from bot.logs import JsonLines, Stamped, TextLines

TOKEN = "xoxb-12-34"


@pytest.fixture
def written() -> Iterator[Callable[[logging.Formatter], io.StringIO]]:
    """Where lines of a logger of our own go, in the form asked for."""
    log = logging.getLogger("daybreak.of_a_test")
    made: list[logging.Handler] = []

    def begin(form: logging.Formatter) -> io.StringIO:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(form)
        handler.addFilter(Stamped("edge"))
        made.append(handler)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        return out

    yield begin
    for handler in made:
        log.removeHandler(handler)


LOG = logging.getLogger("daybreak.of_a_test")
Written = Callable[[logging.Formatter], io.StringIO]


def test_a_line_of_json_has_time_level_logger_message_id_role_and_process(
    written: Written,
) -> None:
    out = written(JsonLines())
    with trail.following("ab12cd34ef56"):
        LOG.info("accepted", extra={"way": "mention", "job": 7, "seconds": 0.5, "late": None})
    LOG.warning("went %s", "by")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first.pop("process") > 0
    assert first == {
        "level": "info", "logger": "daybreak.of_a_test", "message": "accepted",
        "id": "ab12cd34ef56", "role": "edge",
        "way": "mention", "job": 7, "seconds": 0.5, "late": None,
    }  # fmt: skip
    assert (second["level"], second["message"], second["id"]) == ("warning", "went by", "")


def test_a_line_for_people_has_the_same(written: Written) -> None:
    out = written(TextLines())
    with trail.following("ab12cd34ef56"):
        LOG.info("posted", extra={"way": "mention", "why": "two words"})
    line = out.getvalue()
    assert line.endswith(' posted id=ab12cd34ef56 way=mention why="two words"\n')
    assert " INFO    edge[" in line


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_secrets_are_taken_out_of_messages_facts_and_traces(
    written: Written, form: logging.Formatter
) -> None:
    out = written(form)
    url = "https://hooks.slack.com/commands/T1/2/abc"
    try:
        int(f"as {TOKEN}")
    except ValueError:
        LOG.exception("sent %s to %s", TOKEN, url, extra={"detail": f"as {TOKEN}"})
    said = out.getvalue()
    assert TOKEN not in said
    assert "hooks.slack.com" not in said
    assert said.count("[removed]") == 4
    assert "ValueError" in said


def test_a_line_is_one_line_whatever_is_in_it(written: Written) -> None:
    out = written(JsonLines())
    LOG.info("two\nlines", extra={"text": "\ud800 \u2028 \n"})
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["message"] == "two\nlines"


def test_an_inner_trail_ends_where_it_began() -> None:
    assert trail.current() == ""
    with trail.following("a"):
        with trail.following("b"):
            assert trail.current() == "b"
        assert trail.current() == "a"
    assert trail.current() == ""
    assert trail.new() != trail.new()
    assert len(trail.new()) == 12


def test_a_process_says_its_role(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(io.StringIO())
    root = logging.Logger("root")
    root.addHandler(handler)
    monkeypatch.setattr(logging, "getLogger", lambda name="": root if not name else LOG)
    logs.begin("json", "supervisor")
    logs.begin("text", "worker")
    assert [f.role for f in handler.filters if isinstance(f, Stamped)] == ["worker"]
    assert isinstance(handler.formatter, TextLines)
