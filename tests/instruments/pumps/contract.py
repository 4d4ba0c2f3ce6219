"""What every pump must do, whatever its make; each make inherits this and names itself.

Belongs here: the rules of `instruments.contracts.Pump` that delivery relies on. Not here: bytes of
one make. The other end is the make's emulator behind a virtual wire, so deadlines take no time.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments.contracts import KEPT_ALARMS
from instruments.emulators.faults import Fault, FaultyWire
from instruments.errors import (
    DeviceAlarm,
    DeviceRejected,
    InstrumentError,
    OutcomeUnknown,
    SyringeDiffers,
)
from instruments.transport import NotSent
from tests.instruments.matrix_makes import MAKES, MatrixMake
from tests.instruments.virtual_wire import Clocks, VirtualPort


class Bench:
    """One emulated pump, its cable, and a driver that has met it."""

    def __init__(self, make: MatrixMake, *, met: bool = True) -> None:
        self.make, self.clocks = make, Clocks()
        self.device = make.device(self.clocks.physics_h, self.clocks.wall_s)
        self.wire = FaultyWire(self.device, self.clocks.wall_s)
        self.port = VirtualPort(self.wire, self.clocks)
        self.pump = self.driver("P")
        if met:
            self.meet(self.pump)
            make.make_ready(self.pump)
        self.before_ul = float(self.device.delivered_ul)
        self.starts_before = self.device.starts

    def driver(self, name: str) -> Any:
        return self.make.driver(name, self.port, self.clocks.pass_s)

    def meet(self, pump: Any) -> None:
        try:
            pump.open()
        except SyringeDiffers:
            pump.confirm_syringe()

    @property
    def flowed_ul(self) -> float:
        return float(self.device.delivered_ul) - self.before_ul

    @property
    def dose(self) -> tuple[float, float]:
        return self.make.flow_rate_ul_h, self.make.volume_ul

    @property
    def hours(self) -> float:
        return self.make.volume_ul / self.make.flow_rate_ul_h

    def running(self) -> Any:
        self.pump.prepare(*self.dose)
        self.pump.start()
        self.clocks.pass_h(0.5 * self.hours)
        return self.pump

    def sent(self) -> list[bytes]:
        return [sent for sent, _ in self.port.exchanges]


class Babbler:
    """A device that answers every command with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def receive(self, data: bytes) -> bytes:
        return self.answer

    def poll(self) -> bytes:
        return b""

    def power_cycle(self) -> None:
        return


class PumpContract:
    """Rules of a pump; a subclass sets ``name``, a key of ``MAKES``."""

    name: str

    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(MAKES[self.name])

    @property
    def slack_ul(self) -> float:
        make = MAKES[self.name]
        return max(2 * make.resolution_ul, 0.005 * make.volume_ul)

    def test_constructing_sends_nothing(self) -> None:
        assert Bench(MAKES[self.name], met=False).sent() == []

    def test_meeting_a_running_pump_neither_stops_it_nor_clears_its_counter(
        self, bench: Bench
    ) -> None:
        bench.running()
        counted_ul = bench.pump.status().infused_ul
        other = bench.driver("Q")
        other.open()
        assert bench.device.moving
        assert other.status().infused_ul >= counted_ul > 0
        assert other.status().state == "infusing"

    @pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e12])
    def test_impossible_rate_is_refused_before_any_byte(self, bench: Bench, rate: float) -> None:
        bench.port.exchanges.clear()
        for ask in (bench.pump.quantise, bench.pump.prepare):
            with pytest.raises(ValueError):
                ask(rate, bench.make.volume_ul)
        assert bench.sent() == []

    @pytest.mark.parametrize("volume", [0.0, -1.0, math.nan, math.inf, 1e12])
    def test_impossible_volume_is_refused_before_any_byte(
        self, bench: Bench, volume: float
    ) -> None:
        bench.port.exchanges.clear()
        for ask in (bench.pump.quantise, bench.pump.prepare):
            with pytest.raises(ValueError):
                ask(bench.make.flow_rate_ul_h, volume)
        assert bench.sent() == []

    @given(st.floats(0.3, 1.0), st.floats(0.2, 1.0))
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    def test_volume_is_rounded_down_and_the_pump_reads_back_what_quantise_says(
        self, rate_share: float, volume_share: float
    ) -> None:
        bench = Bench(MAKES[self.name])
        asked = bench.dose[0] * rate_share, bench.dose[1] * volume_share
        would = bench.pump.quantise(*asked)
        assert would.volume_ul <= asked[1] * (1 + 1e-9)
        assert would.volume_ul >= 0.95 * asked[1]
        assert would.flow_rate_ul_h == pytest.approx(asked[0], rel=0.1)
        done = bench.pump.prepare(*asked)
        assert (done.flow_rate_ul_h, done.volume_ul) == (would.flow_rate_ul_h, would.volume_ul)
        assert bench.flowed_ul == 0 and not bench.device.moving

    def test_start_without_prepare_is_refused_before_any_byte(self, bench: Bench) -> None:
        bench.port.exchanges.clear()
        with pytest.raises(ValueError, match="prepare"):
            bench.pump.start()
        assert bench.sent() == []

    def test_dose_ends_at_its_target_by_itself_and_is_counted(self, bench: Bench) -> None:
        before = bench.pump.status()
        bench.pump.prepare(*bench.dose)
        asked = bench.pump.quantise(*bench.dose)
        bench.pump.start()
        assert bench.pump.status().state == "infusing"
        bench.clocks.pass_h(3 * asked.volume_ul / asked.flow_rate_ul_h)
        after = bench.pump.status()
        assert after.state == "idle" and not bench.device.moving
        assert bench.flowed_ul == pytest.approx(asked.volume_ul, abs=self.slack_ul)
        counted_ul = after.infused_ul - before.infused_ul
        assert counted_ul == pytest.approx(bench.flowed_ul, abs=self.slack_ul)

    def test_counter_follows_a_running_dose(self, bench: Bench) -> None:
        pump = bench.running()
        first = pump.status()
        bench.clocks.pass_h(0.25 * bench.hours)
        second = pump.status()
        assert first.state == second.state == "infusing"
        moved_ul = second.infused_ul - first.infused_ul
        assert moved_ul == pytest.approx(0.25 * bench.make.volume_ul, abs=2 * self.slack_ul)

    def test_dose_is_started_once_and_wants_new_settings_for_another(self, bench: Bench) -> None:
        before = bench.device.starts
        bench.running()
        with pytest.raises(ValueError):
            bench.pump.start()
        assert bench.device.starts == before + 1

    def test_settings_of_a_running_pump_are_not_touched(self, bench: Bench) -> None:
        bench.running()
        with pytest.raises(DeviceRejected):
            bench.pump.prepare(*bench.dose)
        with pytest.raises(DeviceRejected):
            bench.pump.clear_counter()
        assert bench.device.moving

    def test_stop_stops_and_may_be_repeated(self, bench: Bench) -> None:
        pump = bench.running()
        for _ in range(3):
            pump.stop()
            assert not bench.device.moving
        flowed_ul = bench.flowed_ul
        assert pump.status().state == "idle"
        bench.clocks.pass_h(bench.hours)
        assert bench.flowed_ul == flowed_ul
        with pytest.raises(ValueError):
            pump.start()

    def test_stop_that_is_not_confirmed_says_that_the_pump_may_run(self, bench: Bench) -> None:
        bench.running()
        bench.wire.wedge()
        with pytest.raises(InstrumentError, match="MAY STILL RUN"):
            bench.pump.stop()

    def test_cleared_counter_is_zero_or_a_position_that_needs_no_clearing(
        self, bench: Bench
    ) -> None:
        pump = bench.running()
        bench.clocks.pass_h(bench.hours)
        counted_ul = pump.status().infused_ul
        pump.clear_counter()
        assert pump.status().infused_ul in (0.0, counted_ul)

    def test_lost_answer_of_a_start_is_unknown_and_tells_the_bytes(self, bench: Bench) -> None:
        for asked_before in range(20):  # a driver may look at the pump right before it starts it
            again = Bench(bench.make)
            again.pump.prepare(*again.dose)
            again.wire.arm(Fault("drop_reply", skip=asked_before, times=99))
            with pytest.raises(InstrumentError) as told:
                again.pump.start()
            if again.device.moving:
                break
            assert again.device.starts == again.starts_before
        assert again.device.moving
        assert isinstance(told.value, OutcomeUnknown)
        assert told.value.sent in again.sent()

    def test_stop_since_prepare_keeps_the_pump_from_being_started(self, bench: Bench) -> None:
        bench.pump.prepare(*bench.dose)
        bench.pump.stop()
        with pytest.raises(NotSent, match="a stop came since"):
            bench.pump.start()
        with pytest.raises(ValueError, match="without prepare"):
            bench.pump.start()
        assert not bench.device.moving and bench.device.starts == bench.starts_before

    def test_stop_during_the_last_exchange_of_prepare_is_not_undone_by_it(
        self, bench: Bench
    ) -> None:
        def prepare_and_stop_after(exchanges: int) -> int:
            """Let a stop of another thread come right after so many exchanges; return all of them."""
            done = 0
            real = bench.port.exchange

            def hooked(*args: Any, **options: Any) -> bytes:
                nonlocal done
                answer = real(*args, **options)
                done += 1
                if done == exchanges:
                    bench.port.exchange = real  # type: ignore[method-assign]
                    bench.pump.stop()
                    bench.port.exchange = hooked  # type: ignore[method-assign]
                return answer

            bench.port.exchange = hooked  # type: ignore[method-assign]
            try:
                bench.pump.prepare(*bench.dose)
            finally:
                bench.port.exchange = real  # type: ignore[method-assign]
            return done

        bench.pump.prepare(*bench.dose)
        exchanges = prepare_and_stop_after(0)
        prepare_and_stop_after(exchanges)
        with pytest.raises(NotSent, match="a stop came since"):
            bench.pump.start()
        assert not bench.device.moving

    def test_stall_is_told_until_a_person_acknowledges_it(self, bench: Bench) -> None:
        pump = bench.running()
        pump.status()
        bench.device.block()
        told = pump.status().alarm
        if not told:
            pytest.skip("this pump tells no stall from a target that was reached")
        assert told in KEPT_ALARMS | {"reset"}  # a module that stalls wants to be initialised anew
        for _ in range(2):
            pump.stop()
            assert (pump.status().state, pump.status().alarm) == ("alarm", told)
            with pytest.raises(DeviceAlarm) as refused:
                pump.prepare(*bench.dose)
            assert refused.value.kind == told
            with pytest.raises(ValueError):
                pump.start()
        before = len(bench.sent())
        pump.acknowledge()
        assert len(bench.sent()) == before
        bench.make.make_ready(pump)  # what a module wants besides: steps were lost
        assert pump.status().state == "idle"
        pump.prepare(*bench.dose)
        pump.start()
        assert bench.device.moving

    def test_settings_that_never_arrived_are_not_taken_for_set(self, bench: Bench) -> None:
        n = len(bench.sent())
        bench.pump.prepare(*bench.dose)
        exchanges = len(bench.sent()) - n
        for at in range(exchanges):
            again = Bench(bench.make)
            again.wire.arm(Fault("drop_command", skip=at, times=99))
            with pytest.raises(InstrumentError):
                again.pump.prepare(*again.dose)
            with pytest.raises(ValueError):
                again.pump.start()

    def test_running_dose_survives_that_its_driver_leaves(self, bench: Bench) -> None:
        bench.running()
        bench.pump.close()
        assert bench.device.moving
        bench.clocks.pass_h(3 * bench.hours)
        assert bench.flowed_ul == pytest.approx(bench.make.volume_ul, abs=self.slack_ul)

    def test_stalled_pump_is_told_and_never_called_delivered(self, bench: Bench) -> None:
        pump = bench.running()
        bench.device.block()
        seen = pump.status()
        assert seen.state != "infusing"
        assert seen.state == "alarm" or seen.infused_ul < 0.9 * bench.make.volume_ul
        with pytest.raises((DeviceAlarm, DeviceRejected, InstrumentError, ValueError)):
            pump.start()

    def test_power_cut_is_told_or_nothing_is_claimed(self, bench: Bench) -> None:
        pump = bench.running()
        before = pump.status().restarts
        bench.wire.power_cycle()
        after = None
        for _ in range(3):
            try:
                after = pump.status()
                break
            except InstrumentError:
                bench.clocks.pass_s(1.0)
        if after is not None:
            assert after.restarts is None or (before is not None and after.restarts > before)
            assert after.state != "infusing"

    def test_pump_is_met_again_after_its_cable_was_pulled(self, bench: Bench) -> None:
        pump = bench.running()
        bench.wire.unplug()
        with pytest.raises(InstrumentError):
            pump.status()
        bench.wire.plug_in()
        for _ in range(2):
            try:
                seen = pump.status()
                break
            except InstrumentError:
                continue
        assert seen.state == "infusing"
        assert bench.device.moving

    def test_start_is_not_sent_through_a_port_that_came_back_since_prepare(
        self, bench: Bench
    ) -> None:
        bench.pump.prepare(*bench.dose)
        bench.wire.unplug()
        with pytest.raises(InstrumentError):
            bench.pump.status()
        bench.wire.plug_in()
        bench.port.reopen()
        with pytest.raises((InstrumentError, ValueError)):
            bench.pump.start()
        assert not bench.device.moving

    @given(answer=st.binary(max_size=40))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_arbitrary_answers_raise_nothing_but_instrument_errors_in_bounded_time(
        self, answer: bytes
    ) -> None:
        bench = Bench(MAKES[self.name])
        bench.pump.prepare(*bench.dose)
        bench.wire.device = Babbler(answer)
        for act in (
            bench.pump.start,
            bench.pump.status,
            bench.pump.stop,
            bench.pump.clear_counter,
            bench.pump.close,
            bench.driver("Q").open,
        ):
            begun_s = bench.clocks.wall_s()
            try:
                act()
            except InstrumentError:
                pass
            assert bench.clocks.wall_s() - begun_s < 60
