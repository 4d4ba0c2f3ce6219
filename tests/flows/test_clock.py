"""Study time of a real run does not jump with the computer's clock, and goes on after a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.clock import BEGUN_FILE, WallClock
from flows.perfusion import tell_clock


class Times:
    """A wall clock that somebody sets, and seconds that nobody can."""

    def __init__(self) -> None:
        self.wall, self.steady, self.slept = 1_700_000_000.0, 50.0, 0.0

    def pass_s(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def sleep_s(self, seconds: float) -> None:
        """Let the computer sleep: its battery clock and the clock since boot go on, the monotonic one stands."""
        self.pass_s(seconds)
        self.slept += seconds

    def clock(self, folder: Path) -> WallClock:
        return WallClock(
            folder,
            lambda: self.wall,
            lambda: self.steady,
            lambda: self.steady - self.slept,
        )


@pytest.mark.parametrize("step_s", [-7200.0, 86_400.0])
def test_a_step_of_the_wall_clock_moves_no_study_time_and_is_told_once(
    tmp_path: Path, step_s: float
) -> None:
    times = Times()
    clock = times.clock(tmp_path)
    times.pass_s(3600.0)
    assert clock.now_h() == pytest.approx(1.0) and clock.news() == ""
    times.wall += step_s
    times.pass_s(3600.0)
    assert clock.now_h() == pytest.approx(2.0)
    assert f"{step_s:+.0f} s apart from study time" in clock.news()
    times.pass_s(3600.0)
    assert clock.news() == ""


def test_who_dies_while_the_begin_is_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    times = Times()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("flows.whole_files.reached", die)
        times.clock(tmp_path)
    assert not (tmp_path / BEGUN_FILE).exists()
    assert times.clock(tmp_path).now_h() == 0.0


def test_less_than_a_minute_is_no_news(tmp_path: Path) -> None:
    times = Times()
    clock = times.clock(tmp_path)
    times.wall += 59.0
    assert clock.news() == ""


def test_a_restart_goes_on_by_the_wall_clock(tmp_path: Path) -> None:
    times = Times()
    times.clock(tmp_path)
    times.wall += 5 * 3600.0
    times.steady = 3.0  # the computer was started anew
    clock = times.clock(tmp_path)
    assert clock.now_h() == pytest.approx(5.0)
    times.pass_s(1800.0)
    assert clock.now_h() == pytest.approx(5.5) and clock.news() == ""


def test_real_time_passes(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    begun_h = clock.now_h()
    clock.wait_until_h(begun_h + 0.02 / 3600.0)
    assert 0.02 <= 3600.0 * (clock.now_h() - begun_h) < 5.0


def test_a_clock_that_was_set_is_told_while_pumps_are_watched(tmp_path: Path) -> None:
    times, said, noted = Times(), list[str](), list[Any]()
    record = SimpleNamespace(add_event=lambda run, kind, time_h, content: noted.append(content))
    lab: Any = SimpleNamespace(
        clock=times.clock(tmp_path),
        run_id="r",
        record=record,
        say=lambda cycle, what: said.append(what),
    )
    tell_clock(lab, 1)
    times.wall -= 600.0
    tell_clock(lab, 1)
    tell_clock(lab, 1)
    assert len(said) == 1 and "-600 s" in said[0]
    assert noted == [{"what": "clock set", "seconds": -600.0, "cycle": 1}]
    times.sleep_s(3 * 3600.0)
    tell_clock(lab, 2)
    tell_clock(lab, 2)
    assert noted[1:] == [{"what": "computer slept", "seconds": 10_800.0, "cycle": 2}]
    assert "slept for 180.0 min" in said[1]


def test_study_time_goes_on_while_the_computer_sleeps(tmp_path: Path) -> None:
    times = Times()
    clock = times.clock(tmp_path)
    times.sleep_s(7200.0)
    assert clock.now_h() == pytest.approx(2.0) and clock.news() == ""
