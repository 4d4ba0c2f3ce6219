"""What shall go wrong on the wire of an emulated device, as a person writes it.

Belongs here: reading a plan, inline or from a TOML or YAML file, and every complaint about it. Not
here: what a fault does (faults).

Inline: ``drop_reply:skip=3,times=1; flip_bit:at_byte=2``. A file is named by its ending and holds the
same as ``[[fault]]`` tables (TOML) or as a list (YAML), each with ``kind`` and any of ``KEYS``.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from chiploop.errors import FileNotValid
from instruments.emulators.faults import FAULTS, Fault, check

FILE_ENDINGS: Final = (".toml", ".yaml", ".yml")
EXAMPLE: Final = "drop_reply:skip=3,times=1; flip_bit:at_byte=2"


class FaultPlanNotValid(FileNotValid):
    """A plan of faults that can not be carried out; says every problem."""

    code = "CL-340"


def _whole(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise ValueError
    return int(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not 0.0 <= float(value) < 1e6:
        raise ValueError
    return float(value)


def _text(value: Any) -> bytes:
    r"""Return the bytes of a text in which ``\r`` and ``\x02`` may stand."""
    return str(value).encode("latin-1").decode("unicode_escape").encode("latin-1")


KEYS: Final[dict[str, tuple[str, Callable[[Any], Any], str]]] = {
    "skip": ("skip", _whole, "a whole number: exchanges that still go well"),
    "times": ("times", _whole, "a whole number: exchanges that go wrong after that"),
    "at_byte": ("at_byte", _whole, "a whole number: the byte that is meant, from 0"),
    "bit": ("bit", _whole, "a whole number 0..7"),
    "seconds": ("seconds", _seconds, "seconds, 0 or more"),
    "matching": ("matching", _text, r"a piece of the command, e.g. RUN or \x02"),
    "garbage_hex": ("garbage", lambda v: bytes.fromhex(str(v)), "bytes in hexadecimal, e.g. 00fe"),
}
"""Key of a plan -> field of `Fault`, how it is read, what it takes."""


def read_plan(plan: str) -> tuple[Fault, ...]:
    """Return the faults of a plan, inline or by the name of its file.

    `FaultPlanNotValid` with everything that is wrong with it.
    """
    entries = _from_file(Path(plan)) if plan.lower().endswith(FILE_ENDINGS) else _inline(plan)
    problems: list[str] = []
    faults = [_fault(number, entry, problems) for number, entry in enumerate(entries, start=1)]
    if not entries:
        problems.append(f"no fault in it; for example {EXAMPLE}")
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems)
        raise FaultPlanNotValid(f"the plan of faults can not be used:{told}")
    return tuple(fault for fault in faults if fault is not None)


def tell(fault: Fault) -> str:
    """Return a fault in words, for the screen."""
    told = fault.kind
    if fault.matching:
        told += f", commands with {fault.matching.decode('latin-1')!r}"
    told += f", after {fault.skip} that go well" if fault.skip else ""
    told += ", once" if fault.times == 1 else f", {fault.times} times"
    return told + (f", {fault.seconds:g} s" if fault.seconds else "")


def _inline(plan: str) -> list[dict[str, Any]]:
    entries = []
    for part in filter(None, (part.strip() for part in plan.split(";"))):
        kind, _, settings = part.partition(":")
        entry: dict[str, Any] = {"kind": kind.strip()}
        for setting in filter(None, (word.strip() for word in settings.split(","))):
            key, equals, value = setting.partition("=")
            entry[key.strip()] = value.strip() if equals else ""
        entries.append(entry)
    return entries


def _from_file(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else _yaml(text)
    except OSError as trouble:
        raise FaultPlanNotValid(f"{path} can not be read ({trouble.strerror})") from trouble
    except ValueError as trouble:
        raise FaultPlanNotValid(f"{path} can not be read: {trouble}") from trouble
    if isinstance(content, Mapping):
        extra = ", ".join(sorted(set(content) - {"fault"}))
        content = content.get("fault", []) if not extra else extra
    if not isinstance(content, list):
        raise FaultPlanNotValid(
            f"{path}: a plan is a list of faults under `fault` and nothing else; read {content!r}"
        )
    return content


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text) or []
    except YAMLError as trouble:
        raise ValueError(f"not YAML ({str(trouble).splitlines()[0]})") from trouble


def _fault(number: int, entry: Any, problems: list[str]) -> Fault | None:
    """Return one fault; None, with what is wrong added to ``problems``, where there is none."""
    if not isinstance(entry, Mapping) or not entry.get("kind"):
        problems.append(f"fault {number} has no kind; kinds: {', '.join(FAULTS)}")
        return None
    kind = str(entry["kind"])
    if kind not in FAULTS:
        problems.append(f"fault {number}: {_unknown(kind, FAULTS)}")
        return None
    found: dict[str, Any] = {}
    wrong = len(problems)
    for key, value in entry.items():
        if key == "kind":
            continue
        if key not in KEYS:
            problems.append(f"fault {number}, {kind}: {_unknown(str(key), KEYS)}")
            continue
        field, read, takes = KEYS[key]
        try:
            found[field] = read(value)
        except (ValueError, TypeError):
            problems.append(f"fault {number}, {kind}: {key} takes {takes}; read {value!r}")
    if len(problems) > wrong:
        return None
    fault = Fault(kind=kind, **found)
    try:
        check(fault)
    except ValueError as problem:
        problems.append(f"fault {number}, {kind}: {problem}")
        return None
    return fault


def _unknown(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"{word!r} is not one of {', '.join(known)}" + (
        f"; did you mean {near[0]}?" if near else ""
    )
