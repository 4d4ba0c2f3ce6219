"""The kinds of trouble a person is told about, each with its exit code and a code that a manual can look up.

Belongs here: kinds. Not here: wording for one device or file; that is written where it happens.
A message says what was asked, what came, what is allowed, and what state the hardware is in.
Exit codes: 0 ok, 1 bug, 2 wrong use, 3 file not valid, 4 instrument trouble, 5 safety limit (now holding),
6 fit not accepted, 7 waiting for a person, 130 stopped.
"""

from __future__ import annotations

from dataclasses import dataclass


class ChiploopError(Exception):
    """Trouble with a clear message for a person; never shown as a traceback."""

    exit_code = 1
    code = "CL-100"


class WrongUse(ChiploopError):
    """A command was asked for something that it does not offer."""

    exit_code = 2
    code = "CL-200"


class FileNotValid(ChiploopError):
    """A study file, settings file or vendor export that can not be used as it stands."""

    exit_code = 3
    code = "CL-300"


class InstrumentTrouble(ChiploopError):
    """A device was silent, garbled, refused, alarmed, missing or in use by another program."""

    exit_code = 4
    code = "CL-400"


class SafetyRefusal(ChiploopError):
    """A limit was reached; nothing was sent, and the study holds."""

    exit_code = 5
    code = "CL-500"


class DoseNotFeasible(SafetyRefusal):
    """The pumps of a line can not make the asked concentration."""

    code = "CL-510"


class FitNotAccepted(ChiploopError):
    """A calibration whose diagnostics failed; it proposes nothing."""

    exit_code = 6
    code = "CL-600"


class WaitingForPerson(ChiploopError):
    """The study can go on only after a person has decided or looked."""

    exit_code = 7
    code = "CL-700"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file, told with its place and what would be right."""

    line: int | None
    """Line in the file, from 1; None where the file as a whole is meant."""
    field: str
    """Dotted path, e.g. ``stocks.low.concentration``."""
    message: str
    """What was read and what is allowed."""
    hint: str = ""
    """What to write instead, where that is known."""
