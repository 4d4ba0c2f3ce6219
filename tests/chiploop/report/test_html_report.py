"""The report is one quiet file: whole, marked, the same every time, and honest about what failed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import html5lib
import pytest

from chiploop.record.exclusions import ANY_TIME, Exclusion
from chiploop.record.rows import DecisionAction
from chiploop.record.unexplained import UNEXPLAINED
from chiploop.report import html_report
from chiploop.report.dose_tables import proposal_rows
from chiploop.report.figure_looks import KEPT
from chiploop.report.html_report import (
    FILE,
    RunEvidence,
    page,
    rendered,
    tables_of_history,
    write_page,
    write_report,
)
from chiploop.report.run_tables import excluded_of_chips, readout_counts, unusual_readouts
from chiploop.report.verdicts import data_verdict
from tests.chiploop.report.conftest import HandRun

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Reads a page as a strict reader would: every tag closed in its place, every id once."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes nothing"

    def note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name.endswith("href"):
                self.links.append(value or "")


@pytest.fixture(scope="module")
def shown(hand_run: Any) -> dict[str, Any]:
    """Everything that the page shows, worked out once."""
    return page(RunEvidence(*hand_run.parts))


@pytest.fixture(scope="module")
def text(hand_run: Any, shown: dict[str, Any]) -> str:
    path = hand_run.folder / FILE
    write_page(shown, path)
    return path.read_text(encoding="utf-8")


def figures(text: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)


def test_the_page_is_whole_and_every_id_stands_once(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert sorted(page.ids) == sorted(set(page.ids))
    assert {link[0] for link in page.links} <= {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)


def test_every_figure_follows_the_readers_setting_with_all_its_colours(text: str) -> None:
    for one in figures(text):
        said = re.sub(r"--\w:#[0-9a-f]{6};", "", one)
        assert set(re.findall(r":(#[0-9a-fA-F]{3,8})\b", said)) <= set(KEPT)
        assert "prefers-color-scheme:dark" in one


def test_no_script_and_no_outside_host(text: str) -> None:
    assert "script" not in Page(text).tags
    assert not re.search(r"https?:|//[a-z]+\.|@import|javascript:|\bon[a-z]+=", text, re.IGNORECASE)
    assert len(text.encode()) < 1_000_000


def test_a_second_report_is_the_same_to_the_byte(hand_run: Any, text: str) -> None:
    assert write_report(*hand_run.parts).read_text(encoding="utf-8") == text


def test_all_figures_are_drawn_with_their_text_as_text(text: str) -> None:
    drawn = figures(text)
    assert len(drawn) == 13
    assert 'class="broken"' not in text
    for words in ("concentration at the inlet (nM)", "TEER (Ω cm²)", "CCL26 in effluent (pg/mL)"):
        assert any(f">{words}</text>" in figure for figure in drawn), words
    assert any("Viability lost (% of maximum)" in figure for figure in drawn)


def test_simulated_stands_in_the_header_and_in_every_figure(text: str) -> None:
    header = text[text.index("<header>") : text.index("</header>")]
    assert "SIMULATED" in header
    assert "<title>SIMULATED" in text
    for figure in figures(text):
        assert figure.count(">SIMULATED</text>") == 2
        assert 'aria-label="SIMULATED' in figure


def test_a_real_run_is_nowhere_called_simulated_and_shows_no_truth(
    other_run: Callable[..., Any],
) -> None:
    text = write_report(*other_run(simulated=False).parts).read_text(encoding="utf-8")
    assert "SIMULATED" not in text
    assert "hidden truth" not in text.lower()


def test_truth_inside_and_outside_is_told(text: str) -> None:
    answer = text[text.index('id="answer"') : text.index('id="history"')]
    assert re.search(r"260 nM</b>, <span[^>]*>inside the interval", answer)
    assert re.search(r"99 nM</b>, <span[^>]*>outside the interval", answer)


def test_every_interval_says_its_level_and_kind(text: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, flags=re.DOTALL)
    assert len(captions) == len(figures(text))
    of_checks = text[text.index('id="fit"') : text.index('id="parameters"')]
    for caption in captions:
        assert "interval" not in caption or "equal-tailed" in caption or "profile" in caption
        if caption not in of_checks:
            assert "90 %" in caption and "equal-tailed" in caption, caption
            assert "Read:" in caption, caption
    for value in re.findall(r'class="value">(.*?)</div>', text, flags=re.DOTALL):
        assert "equal-tailed 90 % credible interval" in value
    heads = re.findall(r"<thead>(.*?)</thead>", text, flags=re.DOTALL)
    for head in heads:
        for cell in re.findall(r"<th[^>]*>(.*?)</th>", head, flags=re.DOTALL):
            if re.search(r"interval|EC50|Prior", cell):
                assert "90 %" in cell and "equal-tailed" in cell, cell


def test_what_asks_for_a_look_is_told_before_the_figures_of_the_fit(text: str) -> None:
    section = text[text.index('<h2 id="fit">') : text.index('<h2 id="parameters">')]
    assert re.findall(r'<figure id="([^"]*)"', section) == [
        "fit-parameters", "fit-residuals", "fit-places", "fit-pairs", "fit-profiles", "fit-searches"
    ]  # fmt: skip
    said, _, _ = section.partition("<figure")
    assert "To look at:" in said and "prior-driven" in said
    assert "readings left out one by one" in said


def test_checks_that_can_not_be_made_leave_the_rest(
    hand_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("nothing of it <can> be simulated")

    monkeypatch.setattr(html_report, "review_of", broken)
    text = write_report(*hand_run.parts).read_text(encoding="utf-8")
    assert "could not be made: ValueError: nothing of it &lt;can&gt; be simulated" in text
    assert len(figures(text)) == 7


def test_who_decided_and_what_was_given_is_told(text: str) -> None:
    assert "approved by A. Scientist, 2030-01-02 03:04:05 UTC: pilot as planned" in text
    assert "not decided yet" in text
    assert "Research use only. Not for clinical decisions." in text
    assert re.search(r"<td>L4</td>.*?<td class=\"n\">480</td>\s*<td class=\"n\">480</td>", text)


@pytest.mark.parametrize("action", get_args(DecisionAction))
def test_whatever_was_decided_of_a_proposal_the_report_is_made(
    other_run: Callable[..., Any], shown: dict[str, Any], action: DecisionAction
) -> None:
    run = other_run()
    (_, open_one) = run.record.proposals(run.run_id)
    run.record.add_decision(open_one.key, action, "clock", "not approved within 12 h")
    rows = proposal_rows(run.study, run.record, run.run_id, {})
    text = rendered({**shown, "proposals": rows})
    assert re.search(r"(approv|reject|expir)ed by clock, .*: not approved within 12 h", text)


def test_what_a_person_should_know_of_a_proposal_and_why_the_study_ended_is_told(text: str) -> None:
    assert "edited by A. Scientist, L2 30 nM -&gt; 60 nM: &lt;nearer&gt; the middle" in text
    assert "<b>Why the study ended:</b> cycles: 1, at most 1" in text


def test_reasons_of_failed_and_censored_readouts_are_told_and_escaped(text: str) -> None:
    assert "fit &lt;of&gt; impedance failed" in text
    assert "below LLOQ" in text
    assert "below 250" in text


def test_a_report_made_after_readings_were_left_out_says_that_its_fit_still_has_them(
    other_run: Callable[..., Any], shown: dict[str, Any], text: str
) -> None:
    run = other_run()
    leaving = Exclusion("C02", "TEER", ANY_TIME, True, "ana", "edge leak")
    run.record.add_exclusion(run.run_id, leaving, 60.0)
    out = excluded_of_chips(run.record.readouts(run.run_id))
    told = re.sub(r"<[^>]+>", "", rendered({**shown, "excluded": out}))
    assert (
        f"People have left readings out: {out['C02']} of C02 (who and why" in told and len(out) == 1
    )
    assert "People have left readings out" not in text


def test_readings_stand_beside_what_the_card_of_their_doses_foretold(
    other_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = other_run()
    assert [row["foretold"] for row in tables_of_history(RunEvidence(*run.parts))] == ["–"]
    own = [r for r in run.record.readouts(run.run_id) if r.readout == "TEER" and r.time_h == 48.0]
    middle, wide = own[0].value, (own[0].value * 0.5, own[0].value * 2.0)
    predicted = [
        {"line": "L1", "chip": r.chip_id, "donor": "D1", "readout": "TEER", "unit": "ohm*cm2",
         "time_h": 58.0, "window_start_h": None, "median": middle, "inner": wide, "outer": outer,
         "model": wide, "if_low": middle, "if_high": middle}
        for r, outer in zip(own[:3], (wide, wide, (1.0, 2.0)), strict=True)
    ]  # fmt: skip
    # planned for ten hours later than it was given: predictions move with their exposure
    card = {"predicted": predicted, "begins_h": 34.0}
    monkeypatch.setattr(run.record, "card", lambda *_: card)
    assert [row["foretold"] for row in tables_of_history(RunEvidence(*run.parts))] == ["2 of 3"]


def test_a_failed_calibration_is_marked_failed_and_proposes_nothing(
    other_run: Callable[..., Any],
) -> None:
    text = write_report(*other_run(passed=False).parts).read_text(encoding="utf-8")
    assert "The last calibration FAILED" in text
    assert "90 effective particles, at least 200 needed" in text
    assert re.search(r'class="verdict bad"><h3>FIT FAILED', text)
    assert "so there is no proposal after it" in text
    assert "not decided yet" not in text
    assert text.count("no dose is proposed") == 2
    assert any(">FAILED</text>" in figure for figure in figures(text))
    assert sum(">FAILED FIT</text>" in figure for figure in figures(text)) == 12


def test_a_broken_figure_leaves_the_rest_and_says_what_failed(
    hand_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no <room> for panels")

    monkeypatch.setattr(html_report, "course_figure", broken)
    text = write_report(*hand_run.parts).read_text(encoding="utf-8")
    assert len(figures(text)) == 12
    assert "This figure could not be drawn: ValueError: no &lt;room&gt; for panels" in text
    Page(text)


def test_a_lost_posterior_file_leaves_everything_that_does_not_need_it(
    other_run: Callable[..., Any],
) -> None:
    run = other_run()
    (run.folder / "cal-01" / "posterior.nc").unlink()
    text = write_report(*run.parts).read_text(encoding="utf-8")
    assert len(figures(text)) == 1
    assert "The parameter table could not be made" in text
    assert "missing" in text
    assert "What the pumps gave" in text


def test_a_run_before_its_first_calibration_has_a_report(
    other_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = other_run()
    run.record.add_run("fresh", run.study, seed=1, simulated=True)
    text = write_report(run.record, run.journal, run.study, "fresh", tmp_path).read_text("utf-8")
    assert "No calibration is on record yet" in text
    assert "Nothing was sent to a pump" in text
    Page(text)


def test_a_run_that_is_not_on_record_is_an_error(hand_run: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no run nobody on record"):
        write_report(hand_run.record, hand_run.journal, hand_run.study, "nobody", tmp_path)


def test_a_strict_reader_of_html_finds_nothing_wrong(text: str) -> None:
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(text)
    assert parser.errors == []
    parser.parse(text.replace("</main>", "</main></main>"))
    assert parser.errors != []


def test_a_reading_that_the_fit_could_not_explain_is_counted_and_shown_as_left_out(
    hand_run: HandRun,
) -> None:
    run = RunEvidence(*hand_run.parts)
    line = hand_run.study.line_ids[0]
    chips = set(hand_run.study.line(line).chips)
    of_line = f"/c01/{line}/dose"
    run.actions = [
        replace(a, end=None, held="it stalled") if of_line in a.intent.programme_key else a
        for a in run.actions
    ]
    shown = unusual_readouts(run.judged)
    out = [row for row in shown if UNEXPLAINED in row["reasons"]]
    assert {row["chip"] for row in out} == chips
    assert all(row["state"] == "failed, left out" for row in out)
    before = {row["readout"]: row for row in readout_counts(run.readouts)}
    for row in readout_counts(run.judged):
        assert row["used"] < before[row["readout"]]["used"]
        assert row["used"] + row["failed"] == row["n"] == before[row["readout"]]["n"]
    after = {p.reading.chip_id for p in run.predicted if p.reading.time_h > 24.0}
    assert after == set(hand_run.study.chip_ids) - chips
    assert data_verdict(run.judged).lines[1].state == "look"
    assert f"{len(out) + 1} failed" in data_verdict(run.judged).lines[1].text
