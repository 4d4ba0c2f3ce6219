"""A person decides once, by name, about the proposal that is open."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chiploop.approvals import Moment
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.cli.decide import os_login
from flows.cli.main import command_line

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run("r1", load_study(STUDY_FILE), seed=1, simulated=True)
        record.add_run("r2", load_study(STUDY_FILE), seed=2, simulated=True)
        dose = {"line": "L1", "asked_nm": 60.0, "risk": 0.02, "chips": ["C01", "C02"]}
        record.add_proposal("r1", 2, {"doses": [dose]})
    return folder


def decide(runs: Path, *words: str) -> int:
    return command_line([*words, "--runs", str(runs)])


def test_approval_goes_on_record_in_the_name_of_the_login(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert decide(runs, "approve", "r1", "--why", "looks right") == 0
    assert "SIMULATED" in capsys.readouterr().out
    with Record(str(runs / "record.sqlite")) as record:
        decision = record.decision_for("r1/c02/p1")
    assert decision is not None
    assert (decision.action, decision.by, decision.why) == ("approve", os_login(), "looks right")
    assert decision.by != "somebody-else"


def test_rejection_needs_its_reason(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(runs, "reject", "r1") == 2
    assert decide(runs, "reject", "r1", "--why", " ") == 2
    assert decide(runs, "reject", "r1", "--why", "too bold", "--json") == 0
    out = capsys.readouterr().out
    told = json.loads(out[out.rindex('{\n  "ok"') :])
    assert told == {
        "ok": True,
        "proposal": "r1/c02/p1",
        "action": "reject",
        "by": os_login(),
        "decided": True,
        "still_needed": 0,
    }


@pytest.mark.parametrize(
    ("run", "said"), [("r9", "there is no run r9"), ("r2", "has proposed nothing yet")]
)
def test_an_unknown_run_or_one_without_a_proposal_is_refused(
    runs: Path, capsys: pytest.CaptureFixture[str], run: str, said: str
) -> None:
    assert decide(runs, "approve", run) == 2
    assert said in capsys.readouterr().err


def test_a_decision_is_not_taken_back(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(runs, "approve", "r1") == 0
    assert decide(runs, "reject", "r1", "--why", "second thoughts") == 2
    assert "was decided before" in capsys.readouterr().err


def test_a_folder_without_a_record_is_refused_and_stays_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(tmp_path, "approve", "r1") == 2
    assert "no record" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_decision_shows_the_doses_and_another_proposal_than_meant_is_refused(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(runs, "approve", "r1", "--proposal", "r1/c02/p7") == 2
    assert "r1/c02/p1" in capsys.readouterr().err
    assert decide(runs, "approve", "r1", "--proposal", "r1/c02/p1") == 0
    assert "L1  60 nM, risk 2 %, chips C01, C02" in capsys.readouterr().out


# --- two persons, and until when

TWO_PERSONS = "{by: person, expires: 12 h, two_above: 10 %}"


def run_that_asks(folder: Path, approval: str, risk: float, simulated: bool = False) -> Path:
    """Put a run on record whose study has this approval and which proposed a dose of this risk."""
    text = (Path(__file__).parents[1] / "small_study.yaml").read_text(encoding="utf-8")
    study = folder / "study.yaml"
    study.write_text(text.replace("{by: auto}", approval), encoding="utf-8")
    with Record(str(folder / "runs" / "record.sqlite")) as record:
        record.add_run("r3", load_study(study), seed=1, simulated=simulated)
        dose = {"line": "L1", "asked_nm": 60.0, "risk": risk, "chips": ["C01"]}
        record.add_proposal("r3", 2, {"doses": [dose]})
    return folder / "runs"


def as_login(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("flows.cli.decide.os_login", lambda: name)


def test_above_the_risk_the_second_login_decides_and_the_first_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = run_that_asks(tmp_path, TWO_PERSONS, 0.2)
    as_login(monkeypatch, "alice")
    assert decide(runs, "approve", "r3", "--why", "fits") == 0
    assert "A SECOND PERSON must approve: risk of L1 (20 %)" in capsys.readouterr().out
    assert decide(runs, "approve", "r3") == 2
    assert "alice has approved r3/c02/p1 before" in capsys.readouterr().err
    as_login(monkeypatch, "bob")
    assert decide(runs, "approve", "r3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["decided"], told["still_needed"]) == (True, 0)
    with Record(str(runs / "record.sqlite")) as record:
        decision = record.decision_for("r3/c02/p1")
    assert decision is not None and decision.by == "alice, bob"


def test_below_the_risk_one_is_enough_and_a_stranger_may_reject_but_not_approve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "{by: person, two_above: 10 %, approvers: [alice, bob]}"
    runs = run_that_asks(tmp_path, rule, 0.05)
    as_login(monkeypatch, "mallory")
    assert decide(runs, "approve", "r3") == 2
    assert "mallory may not approve" in capsys.readouterr().err
    assert decide(runs, "reject", "r3", "--why", "smells odd") == 0
    with Record(str(runs / "record.sqlite")) as record:
        assert record.approvals("r3", "r3/c02/p1") == ()


@pytest.mark.parametrize(("hours", "code"), [(11.9, 0), (12.1, 2)])
def test_a_real_proposal_is_approved_until_its_hours_are_over_and_not_later(
    hours: float,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = run_that_asks(tmp_path, "{by: person, expires: 12 h}", 0.2)
    later = Moment(datetime.now(UTC) + timedelta(hours=hours), 0.0)
    monkeypatch.setattr("flows.asking.moment_of", lambda folder, simulated: later)
    assert decide(runs, "approve", "r3") == code
    if code:
        assert "r3/c02/p1 expired" in capsys.readouterr().err
        with Record(str(runs / "record.sqlite")) as record:
            assert record.decision_for("r3/c02/p1") is None
