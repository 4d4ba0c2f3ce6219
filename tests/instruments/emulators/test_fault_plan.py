"""A plan of faults: what a person may write, inline or in a file, and every complaint at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from instruments.emulators.fault_plan import EXAMPLE, FaultPlanNotValid, read_plan, tell
from instruments.emulators.faults import FAULTS, Fault

PLANS = [
    ("drop_reply", (Fault("drop_reply"),)),
    (EXAMPLE, (Fault("drop_reply", skip=3, times=1), Fault("flip_bit", at_byte=2))),
    (" delay : seconds = 0.5 , matching=RUN ;", (Fault("delay", seconds=0.5, matching=b"RUN"),)),
    (r"drop_command:matching=\x02", (Fault("drop_command", matching=b"\x02"),)),
    ("garbage_before:garbage_hex=00fe", (Fault("garbage_before", garbage=b"\x00\xfe"),)),
]


@pytest.mark.parametrize(("plan", "faults"), PLANS)
def test_an_inline_plan_becomes_faults(plan: str, faults: tuple[Fault, ...]) -> None:
    assert read_plan(plan) == faults


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "p.toml",
            '[[fault]]\nkind = "drop_reply"\nskip = 3\n[[fault]]\nkind = "flip_bit"\nbit = 7\n',
        ),
        ("p.yaml", "- kind: drop_reply\n  skip: 3\n- {kind: flip_bit, bit: 7}\n"),
        ("p.yml", "fault:\n  - {kind: drop_reply, skip: 3}\n  - {kind: flip_bit, bit: 7}\n"),
    ],
)
def test_a_file_becomes_the_same_faults(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_plan(str(tmp_path / name)) == (
        Fault("drop_reply", skip=3),
        Fault("flip_bit", bit=7),
    )


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_may_stand_in_a_plan_and_is_told(kind: str) -> None:
    (fault,) = read_plan(f"{kind}:times=2")
    assert tell(fault).startswith(kind)


WRONG = [
    ("", "no fault in it"),
    ("drop_rply", "did you mean drop_reply"),
    (":skip=1", "has no kind"),
    ("flip_bit:bit=9", "on a bit 0..7"),
    ("delay:seconds=-1", "seconds takes seconds"),
    ("delay:seconds=nan", "seconds takes seconds"),
    ("drop_reply:skip=1.5", "skip takes a whole number"),
    ("drop_reply:skip", "skip takes a whole number"),
    ("garbage_before:garbage_hex=xy", "hexadecimal"),
    ("drop_reply:tims=1", "did you mean times"),
    ("none.toml", "can not be read"),
    ("none.yaml", "can not be read"),
]


@pytest.mark.parametrize(("plan", "told"), WRONG)
def test_a_wrong_plan_says_what_is_wrong(plan: str, told: str) -> None:
    with pytest.raises(FaultPlanNotValid, match=told):
        read_plan(plan)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", "fault = 1\n"),
        ("p.toml", "= 1\n"),
        ("p.toml", '[[fault]]\nkind = "drop_reply"\nskip = true\n'),
        ("p.toml", "[faults]\nx = 1\n"),
        ("p.yaml", "a: [1\n"),
        ("p.yaml", "just words\n"),
        ("p.yaml", "- 3\n"),
        ("p.yaml", ""),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(FaultPlanNotValid):
        read_plan(str(tmp_path / name))


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(FaultPlanNotValid) as told:
        read_plan("nonsense; flip_bit:bit=8; delay:seconds=x,foo=1")
    assert all(word in str(told.value) for word in ("nonsense", "bit 0..7", "seconds", "foo"))
