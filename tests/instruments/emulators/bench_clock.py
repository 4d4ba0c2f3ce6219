"""Two clocks that a test moves by hand, and short ways to a pump that is ready for commands."""

from __future__ import annotations

from dataclasses import dataclass

from instruments.emulators.ne1000 import Ne1000, Ne1000Settings


@dataclass
class Clocks:
    """Study time and link time of a test."""

    physics_h: float = 0.0
    wall_s: float = 0.0

    def pump(self, **settings: object) -> Ne1000:
        """Return a pump on these clocks, as it is after power-up."""
        return Ne1000(
            Ne1000Settings(**settings),  # type: ignore[arg-type]
            lambda: self.physics_h,
            lambda: self.wall_s,
        )

    def ready_pump(self, **settings: object) -> Ne1000:
        """Return a pump whose reset alarm is acknowledged, with its syringe's diameter set."""
        pump = self.pump(**settings)
        address = pump.address
        for command in ("", f"DIA {pump.settings.syringe_diameter_mm:.2f}"):
            pump.receive(f"{address}{command}\r".encode())
        return pump


def tell(pump: Ne1000, *commands: str) -> str:
    """Send commands in basic mode; return the payload of the last answer."""
    answer = b""
    for command in commands:
        answer = pump.receive(f"{pump.address}{command}\r".encode())
    assert answer[:1] == b"\x02" and answer[-1:] == b"\x03"
    return answer[1:-1].decode()
