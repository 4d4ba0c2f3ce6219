"""A use needs its word of the consent, and a day on which the patient may still be kept."""

from __future__ import annotations

import pytest

from chiploop.twin.consent import SCOPES, USES, NotAgreed, check_use, why_not

TODAY = "2026-06-01"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_use_is_allowed_where_its_word_is_in_the_scope_and_only_there(
    use: str, scope: str
) -> None:
    assert (why_not([scope], "2030-12-31", use, TODAY) == "") == (USES[use] in ("", scope))
    assert why_not(SCOPES, "2030-12-31", use, TODAY) == ""


def test_what_each_use_needs_is_this_and_nothing_else() -> None:
    assert {use: word for use, word in USES.items() if word != "research"} == {
        "teach": "teaching", "export": "sharing", "show": "", "change": "",
    }  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_after_the_last_day_nothing_is_allowed(use: str) -> None:
    assert why_not(SCOPES, TODAY, use, TODAY) == ""
    assert "was to be deleted after 2026-05-31" in why_not(SCOPES, "2026-05-31", use, TODAY)


def test_a_refusal_names_whose_it_is_and_an_unknown_use_is_a_bug() -> None:
    with pytest.raises(NotAgreed, match="^P: the consent is for teaching, not for research"):
        check_use(["teaching"], "2030-12-31", "whatif", TODAY, "P")
    with pytest.raises(KeyError):
        why_not(SCOPES, "2030-12-31", "sale", TODAY)
