"""Answers: what is taken, what is refused with what is allowed, when results come."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.play import AnswerRefused, Play, answered, happened, played

OPEN = next(c for c in (case_of(3, n) for n in range(1, 40)) if not c.jak_closed)
CLOSED = next(c for c in (case_of(3, n) for n in range(1, 40)) if c.jak_closed)
WHOLE = ["tewl ccl17", "", "dupilumab", "60", "", "dupilumab", "70 %", "", "3", "80"]


def test_a_whole_case_is_three_visits_of_tests_treatment_and_probability() -> None:
    play = Play(OPEN)
    asked = []
    for answer in WHOLE:
        asked.append(play.asks)
        play = answered(play, answer)
    assert asked == ["tests", *["tests", "treatment", "probability"] * 3]
    assert play.asks == "nothing" and play.week == 16
    assert play.plan == ("dupilumab",) * 3
    assert [choice.probability for choice in play.choices] == [0.6, 0.7, 0.8]
    assert play.cost == 6.0
    assert len(happened(play)) == 3
    with pytest.raises(AnswerRefused, match="over"):
        answered(play, "")


def test_results_come_when_their_turnaround_is_over_and_not_before() -> None:
    play = played(OPEN, ["tewl, ccl17; microbiome", "flg scores", "chip", ""])
    assert set(play.told_at(0)) == {"tewl_g_m2_h", "serum_ccl17_pg_ml", "microbiome_score"}
    assert {"flg", "th2_score"} <= set(play.told_at(4)) and "maturation" not in play.told_at(4)
    assert "maturation" in play.told_at(8) and "ic50_nm_upadacitinib" in play.told_at(8)
    later = played(OPEN, ["", "dupilumab", "50", "ccl17", ""])
    assert "serum_ccl17_pg_ml" not in later.told_at(4)
    assert "serum_ccl17_pg_ml" in later.told_at(8)


@pytest.mark.parametrize(
    ("before", "answer", "words"),
    [
        ([], "blood", "no test; can be ordered now: tewl, ccl17"),
        (["tewl"], "tewl", "ordered already; can be ordered now: ccl17"),
        (["", "dupilumab", "50"], "tewl", "first visit alone"),
        (["", "dupilumab", "50"], "chip", "after the last decision"),
        ([""], "", "a treatment is needed; offered: emollient"),
        ([""], "aspirin", "no treatment; offered: emollient"),
        ([""], "upadacitinib", "needs a dose: upadacitinib:15mg or upadacitinib:30mg"),
        ([""], "0", "numbers: 1 to 18"),
        ([""], "19", "numbers: 1 to 18"),
        (["", "dupilumab"], "much", "no percentage"),
        (["", "dupilumab"], "101", "not from 0 to 100"),
        (["", "dupilumab"], "nan", "not from 0 to 100"),
        (["", "dupilumab"], "-1", "not from 0 to 100"),
        (["", "dupilumab"], "0.6", "share or a percentage"),
        ([], "x" * 201, "at most 200"),
    ],
)
def test_what_can_not_be_taken_is_refused_with_what_is_allowed(
    before: list[str], answer: str, words: str
) -> None:
    play = played(OPEN, before)
    with pytest.raises(AnswerRefused, match=words):
        answered(play, answer)
    assert play == played(OPEN, before)


def test_jak_inhibitors_are_refused_with_the_reason_where_the_history_closes_them() -> None:
    play = played(CLOSED, [""])
    for answer in ("upadacitinib:15mg", "abrocitinib:200mg+topicals"):
        with pytest.raises(AnswerRefused, match="thrombosis"):
            answered(play, answer)
    assert answered(play, "10").option == "nemolizumab+topicals"


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("Placebo", "emollient"),
        ("emollient + topicals", "topicals"),
        ("2", "topicals"),
        ("Dupilumab + TCS", "dupilumab+topicals"),
        ("upadacitinib:30MG", "upadacitinib:30mg"),
    ],
)
def test_a_treatment_may_be_written_in_other_ways(answer: str, option: str) -> None:
    assert answered(played(OPEN, [""]), answer).option == option


NEARLY = st.sampled_from(
    [
        *WHOLE,
        "none",
        "flg",
        "chip,flg",
        "1e999",
        "²",
        "٣",
        "+",
        "emollient+",
        "%",
        ",",
        "60 % %",
        "\x00",
    ]
)


@settings(max_examples=50, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(answers=st.lists(NEARLY | st.text(max_size=30), max_size=12))
def test_no_answer_makes_a_play_fail_or_go_past_its_end(answers: list[str]) -> None:
    play = Play(OPEN)
    for answer in answers:
        try:
            play = answered(play, answer)
        except AnswerRefused as problem:
            assert str(problem)
    assert played(OPEN, play.answers) == play
    assert len(play.choices) <= 3
