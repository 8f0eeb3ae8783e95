"""The command line: answers, refusals with exit status 2, files in, pictures out."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from analytics.methods.slow import SLOW
from bot.__main__ import main
from bot.config import Settings, StateSettings, StoreSettings
from bot.prompt import Words
from bot.setup import Bot
from tests.shop import shop_file

BAD_TEXTS = [
    "rules for catgory bags", "ruls", "kpi's", "kpis last", "kpis last 0 days", "kpis 2011-13",
    "kpis by", "kpis by moon", "kpis for Frnce", "kpis where country:", "kpis country:Atlantis",
    "segment k 1", "segment k many", "segment by kmedoids", "rules min-support 200%",
    "rules with item", "rules for category bagz", "ab chekout_v2 by", "help nothing",
    "top itms", "status now please today", "kpis last week last month", 'rules "open', "",
    "SELECT * FROM orders; --", "kpis as pdf", "🤷", "drop table orders", "kpis where 1=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Settings over a demo store of this module's own."""
    folder = tmp_path_factory.mktemp("terminal")
    shop = shop_file(folder, Path(pytestconfig.cache.mkdir("daybreak-shop")))
    path = folder / "config.yaml"
    path.write_text(
        f"store: {{url: 'duckdb:///{shop}'}}\n"
        f"state: {{url: 'sqlite:///{folder / 'state.sqlite'}'}}\n"
        "time_zone: Europe/London\ncurrency: GBP\nclock: after data\n",
        encoding="utf-8",
    )
    return path


def ask(config: Path, *words: str) -> int:
    return main(["--config", str(config), "ask", *words])


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_bad_text_gets_a_sentence_and_exit_status_2(
    text: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, text) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err
    assert "reference" not in err


def test_a_misspelt_dimension_gets_did_you_mean(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, "rules for catgory bags") == 2
    assert "Did you mean category?" in capsys.readouterr().err


def test_an_answer_says_what_was_understood_and_through_when(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, "top", "categories", "last", "week") == 0
    out = capsys.readouterr().out
    assert out.startswith("Understood: top categories last week\n")
    assert "data through 9 Dec 2011 12:50 UTC" in out
    assert "Next: " in out


def test_json_holds_raw_values_and_the_receipt(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, "status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["question"] == "status"
    assert told["receipt"]["data_through"] == "2011-12-09T12:50:00Z"


def test_a_refusal_as_json_has_a_code(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(config, "ruls", "--json") == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["hint"]) == ("not_understood", "Did you mean `rules`?")


@pytest.mark.parametrize(
    "words", [("top items last week as csv",), ("top items last week", "--csv")]
)
def test_csv_has_all_rows(
    words: tuple[str, ...], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, *words) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0][:2] == ["Name", "Net revenue (GBP)"]
    assert len(rows) > 400


def test_sql_shows_the_queries(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(config, "top items last week as sql") == 0
    assert "-- query 1 of" in capsys.readouterr().out


def test_pictures_are_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, "top items last week", "--png", str(tmp_path / "top.png")) == 0
    assert (tmp_path / "top.png").read_bytes().startswith(b"\x89PNG")
    assert "Wrote" in capsys.readouterr().err


def test_a_wrong_settings_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("stor: {}", encoding="utf-8")
    assert main(["--config", str(path), "ask", "help"]) == 2
    assert "did you mean `store`?" in capsys.readouterr().err


def settings_in(folder: Path, more: str = "") -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"store: {{url: 'duckdb:///{folder / 'store.duckdb'}'}}\n"
        f"state: {{url: 'sqlite:///{folder / 'state.sqlite'}'}}\n{more}",
        encoding="utf-8",
    )
    return path


ORDERS = "Order Number;Customer;Order Date;Total\n" + "".join(
    f"{n};c{n % 5};2026-10-{n % 9 + 1:02} 10:00;{n},50\n" for n in range(1, 40)
)


def test_a_file_is_loaded_by_a_proposed_mapping_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file = settings_in(tmp_path), tmp_path / "orders.csv"
    file.write_text(ORDERS + "99;c1;31/02/2026;5,00\n", encoding="utf-8")
    assert main(["--config", str(config), "load", "orders", str(file)]) == 2
    assert "I need a yes to this mapping." in capsys.readouterr().err
    for said in ("orders: 39 new", "Nothing changed."):
        assert main(["--config", str(config), "load", "orders", str(file), "--yes"]) == 0
        err = capsys.readouterr().err
        assert said in err
        assert "line 40: `ordered_at` is not a time: “31/02/2026”" in err
    assert main(["--config", str(config), "ask", "kpis", "2026-10", "--json"]) == 0
    figures = {p["label"]: p["value"] for p in json.loads(capsys.readouterr().out)["parts"]
               if p["part"] == "figure"}  # fmt: skip
    assert (figures["Orders"], figures["Revenue"]) == (39, sum(100 * n + 50 for n in range(1, 40)))


def test_a_file_is_loaded_by_a_configured_mapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("who,joined\np1,2026-01-05 08:00\n", encoding="utf-8")
    mapping = "{entity: people, columns: {person_id: who, first_seen_at: joined}}"
    config = settings_in(tmp_path, f"loads: {{signups: {mapping}}}")
    assert main(["--config", str(config), "load", "signups", str(file)]) == 0
    assert "people: 1 new" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entity", "content", "said"),
    [
        ("ordrs", ORDERS, "“ordrs” is not one of our tables."),
        ("orders", "a,b\n1,2\n", "I found no column for"),
        ("orders", None, "There is no file"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    entity: str,
    content: str | None,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "file.csv"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert main(["--config", str(settings_in(tmp_path)), "load", entity, str(file), "--yes"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert "Traceback" not in err


def test_words_are_completed_by_what_fits_the_verb(tmp_path: Path) -> None:
    bot = Bot.open(
        Settings(
            store=StoreSettings(url="duckdb:///:memory:"),
            state=StateSettings(url=f"sqlite:///{tmp_path / 'state.sqlite'}"),
        )
    )
    completer = Words(bot)

    def completed(text: str) -> list[str]:
        return [c.text for c in completer.get_completions(Document(text), CompleteEvent())]

    assert completed("seg")[0] == "segment"
    assert completed("kp") == ["kpis"]
    assert "dbscan" in completed("segment db")
    assert "last 30 days" in completed("kpis ")
    assert completed("nonsense ") == []
    bot.close()


def test_the_pages_are_written(tmp_path: Path) -> None:
    assert main(["docs", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "commands.md").read_text(encoding="utf-8").startswith("# Commands")
    assert "`store.url`" in (tmp_path / "configuration.md").read_text(encoding="utf-8")


# --- the start -----------------------------------------------------------------------------------

SOURCES = Path(__file__).parents[1]


def test_slow_libraries_are_not_loaded_before_a_question_needs_them() -> None:
    late = (*SLOW, "matplotlib", "mlxtend", "numba", "openpyxl", "prompt_toolkit", "sklearn")
    asks = (
        "import sys, bot.actions, bot.dispatch\n"
        "assert 'analytics.commands.segment' in sys.modules\n"
        f"print([m for m in {late!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", asks], cwd=SOURCES, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_library_that_is_loaded_late_is_loaded_before_the_forks() -> None:
    late = re.compile(r"^ +(?:from|import) ((?:sklearn|scipy|mlxtend|numba)[\w.]*)", re.MULTILINE)
    files = (SOURCES / "analytics").rglob("*.py")
    found = {name for f in files for name in late.findall(f.read_text(encoding="utf-8"))}
    assert found - {"sklearn"} <= set(SLOW)
    assert "sklearn.cluster" in found
