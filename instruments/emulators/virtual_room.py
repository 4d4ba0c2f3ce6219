"""The room of a virtual lab: emulated pumps, reader and meter around tissue, on one study clock.

Belongs here: how what the pumps deliver reaches the tissue, and what may be asked of the room. Not
here: tissue (chiploop.virtual_lab), processes, ports, files.

Time moves only by ``advance``; a pump that stops on the way splits the interval, so the tissue
feels what was really delivered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chiploop.connections import lines_that_may_feed
from instruments.emulators.emstat_pico import EmStatPico
from instruments.emulators.faults import ByteDevice, Fault, FaultyWire, check
from instruments.emulators.ne1000 import Ne1000, Ne1000Settings
from instruments.emulators.ne1000_bus import Ne1000Bus
from instruments.emulators.reader_elsewhere import ReaderElsewhere
from instruments.emulators.runze_sv06 import PORT_COUNTS, RunzeSv06, RunzeSv06Settings
from instruments.emulators.spectramax import SpectraMax

if TYPE_CHECKING:
    from chiploop.study import Study

PORTS = ("pumps", "reader", "teer")
VALVE_ADDRESS = 1
LONGEST_STUDY_H = 100_000.0
PLATE_FIELDS = ("plate_id", "assay", "wells")


class Tissue(Protocol):
    """The chips of a virtual lab, see ``chiploop.virtual_lab.VirtualLab``."""

    def advance(
        self,
        start_h: float,
        end_h: float,
        line_flows_ul_h: dict[str, dict[str, float]],
        fed_by: Mapping[str, str | None] | None = None,
    ) -> None:
        """Let time act under constant flows: line -> pump role -> uL/h; where there are valves, ``fed_by`` says
        chip -> line that its valve lets through."""

    def impedance(self, chip_id: str, time_h: float, frequency_hz: np.ndarray) -> np.ndarray:
        """Return complex ohm (n_freq,)."""

    def absorbance(self, plate: dict[str, Any], wavelength_nm: int) -> np.ndarray:
        """Return OD (8, 12); NaN for an empty well."""

    def truth(self) -> dict[str, Any]:
        """Return what is hidden from the loop, ready for JSON."""

    def state(self) -> dict[str, Any]:
        """Return the durable state, ready for JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state."""


@dataclass(frozen=True)
class RigPump:
    """One pump of the rig."""

    line: str
    role: str
    """What stands in it: ``medium``, ``stimulus``, ``low``, ``high``."""
    syringe_volume_ul: float
    syringe_diameter_mm: float

    @property
    def name(self) -> str:
        """Name in lab.toml, e.g. ``L1-medium``."""
        return f"{self.line}-{self.role}"


@dataclass(frozen=True)
class Rig:
    """What stands in the room: pumps in the order of their addresses, chips in that of channels."""

    pumps: tuple[RigPump, ...]
    chips: tuple[str, ...]
    valves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Chip -> the lines on the ports of the valve before it, from port 1."""

    def valve_ports(self) -> dict[str, str]:
        """Return chip -> name of the port of the computer that its valve is on."""
        return {chip: f"valve-{chip}" for chip in self.valves}


def rig_of(study: Study) -> Rig:
    """Return the rig of a study: for each line one pump per syringe, for each chip one channel."""
    pumps = tuple(
        RigPump(line.id, role, syringe.volume_ul, syringe.diameter_mm)
        for line in study.lines
        for role, syringe in study.syringes_of(line.id).items()
    )
    valves = {chip: lines_that_may_feed(study, chip) for chip in study.valves}
    return Rig(pumps, tuple(chip for line in study.lines for chip in line.chips), valves)


def ports_of(lines: int) -> int:
    """Return the ports of the smallest valve for so many lines."""
    return next(ports for ports in PORT_COUNTS if ports >= lines)


class VirtualRoom:
    """The emulated devices of one rig and the tissue that they serve."""

    def __init__(self, rig: Rig, tissue: Tissue, wall_s: Callable[[], float]) -> None:
        self.rig, self.tissue = rig, tissue
        self.time_h = 0.0
        """Hours since the study began."""
        self.revision = 0
        """Grows whenever time, plate or what is to come has changed; devices have their own."""
        self.tissue_revision = 0
        """Grows whenever the tissue has changed."""
        self.plate: dict[str, Any] | None = None
        """The plate in the reader's drawer."""
        self.to_come: list[dict[str, Any]] = []
        """Fault requests that wait for their ``at_h``."""
        self.noise_to_come: list[float] = []
        """Relative noise of the next sweeps of the meter."""
        self.noisy_sweeps: list[tuple[float, str]] = []
        """Study time and chip of every sweep that was spoilt."""
        self.bench = ReaderElsewhere(tissue)
        self.pumps = {
            pump.name: Ne1000(
                Ne1000Settings(
                    address=address,
                    syringe_volume_ul=pump.syringe_volume_ul,
                    syringe_diameter_mm=pump.syringe_diameter_mm,
                ),
                lambda: self.time_h,
                wall_s,
            )
            for address, pump in enumerate(rig.pumps)
        }
        self.bus = Ne1000Bus(list(self.pumps.values()), wall_s)
        self.reader = SpectraMax(self._absorbance, lambda: self.time_h, wall_s)
        self.meter = EmStatPico(self._impedance, wall_s)
        self.valves = {
            chip: RunzeSv06(
                RunzeSv06Settings(address=VALVE_ADDRESS, ports=ports_of(len(lines))),
                lambda: self.time_h,
                wall_s,
            )
            for chip, lines in rig.valves.items()
        }
        """Chip -> the valve before it."""
        devices: tuple[ByteDevice, ...] = (self.bus, self.reader, self.meter)
        self.wires = {
            name: FaultyWire(device, wall_s) for name, device in zip(PORTS, devices, strict=True)
        }
        for chip, name in rig.valve_ports().items():
            self.wires[name] = FaultyWire(self.valves[chip], wall_s)

    # --- time

    def advance(self, to_h: float) -> None:
        """Move the world to a study time; does nothing where it is already there or later.

        Raises ValueError for a time that is no number of hours of a study.
        """
        if not math.isfinite(to_h) or to_h > LONGEST_STUDY_H:
            raise ValueError(f"can not advance to {to_h} h; at most {LONGEST_STUDY_H} h")
        self._let_come()
        while self.time_h < to_h:
            stops_h = (pump.plunger.stops_at_h for pump in self.pumps.values())
            coming_h = (float(request["at_h"]) for request in self.to_come)
            next_h = min(to_h, *stops_h, *coming_h, *self.bench.due_h())
            if next_h > self.time_h:
                if self.valves:
                    self.tissue.advance(
                        self.time_h, next_h, self._line_flows_ul_h(), self._fed_by()
                    )
                else:
                    self.tissue.advance(self.time_h, next_h, self._line_flows_ul_h())
                self.tissue_revision += 1
                self.revision += 1
                self.time_h = next_h
            for pump in self.pumps.values():
                pump.settle()
            self._let_come()

    def _line_flows_ul_h(self) -> dict[str, dict[str, float]]:
        """Return line -> role -> flow into the line; a check valve holds back what is withdrawn."""
        flows: dict[str, dict[str, float]] = {}
        for place in self.rig.pumps:
            flow_ul_h = max(self.pumps[place.name].plunger.flow_ul_h, 0.0)
            flows.setdefault(place.line, {})[place.role] = flow_ul_h
        return flows

    def _fed_by(self) -> dict[str, str | None]:
        """Return chip -> line on the port at which its valve truly stands; None where that is none."""
        found: dict[str, str | None] = {}
        for chip, valve in self.valves.items():
            lines, port = self.rig.valves[chip], valve.port
            found[chip] = lines[port - 1] if port is not None and port <= len(lines) else None
        return found

    def _let_come(self) -> None:
        due = [request for request in self.to_come if float(request["at_h"]) <= self.time_h]
        self.to_come = [request for request in self.to_come if request not in due]
        for request in due:
            self.revision += 1
            self._happen(request)
        if self.bench.write_due(self.time_h):
            self.revision += 1

    # --- what the devices sense

    def _absorbance(self, wavelength_nm: int) -> np.ndarray:
        if self.plate is None:
            return np.full((8, 12), math.nan)
        return self.tissue.absorbance(self.plate, wavelength_nm)

    def _impedance(self, channel: int, frequency_hz: np.ndarray) -> np.ndarray:
        """Return the impedance of the chip on a channel; an empty channel is an open circuit."""
        if channel >= len(self.rig.chips):
            return np.full(frequency_hz.shape, complex(math.inf, 0.0))
        chip = self.rig.chips[channel]
        clean = self.tissue.impedance(chip, self.time_h, frequency_hz)
        if not self.noise_to_come:
            return clean
        self.noisy_sweeps.append((self.time_h, chip))
        rng = np.random.default_rng([round(1e3 * self.time_h), channel])
        noise = rng.standard_normal((2, *clean.shape))
        return clean * (1.0 + self.noise_to_come.pop(0) * (noise[0] + 1j * noise[1]))

    # --- what may be asked of the room

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; raises ValueError or KeyError for one that makes no sense."""
        do = request.get("do")
        if do not in _REQUESTS:
            raise ValueError(f"{do!r} is not one of {', '.join(_REQUESTS)}")
        return _REQUESTS[do](self, request)

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"time_h": self.time_h}

    def _advance(self, request: dict[str, Any]) -> dict[str, Any]:
        self.advance(float(request["to_h"]))
        return {"time_h": self.time_h}

    def _load_plate(self, request: dict[str, Any]) -> dict[str, Any]:
        plate = request["plate"]
        missing = [name for name in PLATE_FIELDS if name not in plate]
        if missing or not all("well" in well for well in plate["wells"]):
            raise ValueError(f"a plate has {', '.join(PLATE_FIELDS)}, each well its place")
        self.plate = plate
        self.revision += 1
        return {"plate_id": plate["plate_id"]}

    def _send_plate(self, request: dict[str, Any]) -> dict[str, Any]:
        self.bench.send(request, self.time_h)
        self.revision += 1
        return {"label": request["plate"]["label"]}

    def _truth(self, request: dict[str, Any]) -> dict[str, Any]:
        pumps = {
            name: {
                "delivered_ul": pump.plunger.delivered_ul,
                "content_ul": pump.plunger.content_ul,
                "flow_ul_h": pump.plunger.flow_ul_h,
                "starts": pump.starts,
                "flow_intervals": pump.plunger.flow_intervals,
            }
            for name, pump in self.pumps.items()
        }
        said = {
            **self.tissue.truth(),
            "time_h": self.time_h,
            "pumps": pumps,
            "met": {port: dict(wire.met) for port, wire in self.wires.items()},
            "noisy_sweeps": self.noisy_sweeps,
        }
        if self.valves:
            said["valves"] = {
                chip: {"feeds": self._fed_by()[chip], "moves": valve.moves}
                for chip, valve in self.valves.items()
            }
        return said

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        if "at_h" in request and float(request["at_h"]) > self.time_h:
            self._check_fault(request)
            self.to_come.append(request)
            self.revision += 1
        else:
            self._happen(request)
        return {"time_h": self.time_h}

    def _check_fault(self, request: dict[str, Any]) -> None:
        if "noise" in request:
            if not 0.0 < float(request["noise"]) <= 10.0 or int(request.get("sweeps", 1)) < 1:
                raise ValueError("noise is relative, above 0 and at most 10, of 1 sweep or more")
        elif "file" in request:
            self.bench.check_fault(request)
        elif "valve" in request:
            if request["valve"] not in self.valves or request["kind"] not in _VALVE_FAULTS:
                raise ValueError(
                    f"a valve is one of {', '.join(self.valves)};"
                    f" what happens to it one of {', '.join(_VALVE_FAULTS)}"
                )
        elif "pump" in request:
            if request["pump"] not in self.pumps or request["kind"] not in _PUMP_FAULTS:
                raise ValueError(
                    f"a pump is one of {', '.join(self.pumps)};"
                    f" what happens to it one of {', '.join(_PUMP_FAULTS)}"
                )
        elif request["port"] not in self.wires:
            raise ValueError(f"a port is one of {', '.join(self.wires)}")
        elif request["kind"] not in _PORT_EVENTS:
            check(fault_from(request))

    def _happen(self, request: dict[str, Any]) -> None:
        """Let a fault happen to one pump, on one port, or noise to the meter's next sweeps."""
        self._check_fault(request)
        if "noise" in request:
            self.noise_to_come += [float(request["noise"])] * int(request.get("sweeps", 1))
            return
        kind = request["kind"]
        if "file" in request:
            self.bench.faults.append(kind)
        elif "valve" in request:
            _VALVE_FAULTS[kind](self.valves[request["valve"]])
        elif "pump" in request:
            _PUMP_FAULTS[kind](self.pumps[request["pump"]])
        elif kind in _PORT_EVENTS:
            _PORT_EVENTS[kind](self.wires[request["port"]])
        else:
            self.wires[request["port"]].arm(fault_from(request))

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return time, plate and what is to come; devices and tissue have states of their own."""
        return {
            "time_h": self.time_h,
            "plate": self.plate,
            "to_come": list(self.to_come),
            "reader_elsewhere": self.bench.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state."""
        self.time_h, self.plate = state["time_h"], state["plate"]
        self.to_come = list(state["to_come"])
        self.bench.restore(state.get("reader_elsewhere", {}))
        self.revision += 1


def fault_from(request: dict[str, Any]) -> Fault:
    """Return the fault that a request describes; ``matching`` is latin-1, ``garbage_hex`` hex."""
    plain = {name: request[name] for name in _FAULT_NUMBERS if name in request}
    if "garbage_hex" in request:
        plain["garbage"] = bytes.fromhex(request["garbage_hex"])
    matching = str(request.get("matching", "")).encode("latin-1")
    return Fault(kind=str(request["kind"]), matching=matching, **plain)


_FAULT_NUMBERS = ("skip", "times", "at_byte", "bit", "seconds")
_PUMP_FAULTS: dict[str, Callable[[Ne1000], None]] = {
    "power_cut": Ne1000.power_cycle,
    "block": Ne1000.block,
    "change_syringe": Ne1000.change_syringe,
}
"""What may happen to one pump."""
_VALVE_FAULTS: dict[str, Callable[[RunzeSv06], None]] = {
    "power_cut": RunzeSv06.power_cycle,
    "block": RunzeSv06.block,
    "free": RunzeSv06.free,
}
"""What may happen to one valve; with its power it goes back to port 1."""
_PORT_EVENTS: dict[str, Callable[[FaultyWire], None]] = {
    "unplug_now": FaultyWire.unplug,
    "plug_in": FaultyWire.plug_in,
    "power_cut": FaultyWire.power_cycle,
    "clear": FaultyWire.clear,
}
"""What happens to a port at once; every other kind is a fault that waits for its exchange."""
_REQUESTS: dict[str, Callable[[VirtualRoom, dict[str, Any]], dict[str, Any]]] = {
    "hello": VirtualRoom._hello,
    "advance": VirtualRoom._advance,
    "load_plate": VirtualRoom._load_plate,
    "send_plate": VirtualRoom._send_plate,
    "truth": VirtualRoom._truth,
    "fault": VirtualRoom._fault,
}
"""Request -> what answers it."""
