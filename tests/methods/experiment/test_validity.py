"""The short validity suite: simulated experiments through the verdict, every rate in its band."""

import pytest

from benchmarks.validity import STUDIES, Line, main, measured


@pytest.mark.parametrize("at", range(len(STUDIES)), ids=[study.name for study in STUDIES])
def test_the_rate_lies_in_its_band(at):
    outside = [line for line in measured(at, short=True) if not line.ok]
    assert not outside


def test_a_rate_outside_its_band_fails_the_run(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.validity.STUDIES", STUDIES[:1])
    wrong = Line("A/A", "false verdicts", 10, 0.3, 0.04, 0.06)
    assert main(["--short"]) == 0
    monkeypatch.setattr("benchmarks.validity.measured", lambda at, short: [wrong])
    assert main(["--short"]) == 1
    assert "!! A/A" in capsys.readouterr().out
