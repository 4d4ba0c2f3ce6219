"""Where a process that holds ports hears that another one wants everything stopped.

Belongs here: the owner's side, and the files in which the two sides talk. Not here: asking, and what
is done about an owner that does not answer (`stop_request`).

Requests lie in a folder that all users of the computer share, ``stops`` beside the port locks. Whoever
asks puts ``ID.request.json`` there, naming the owner (process id and start) and its ports; the owner
answers with ``ID.heard.json`` at once, again and again while it is busy with it, and with
``ID.answer.json`` when its pumps have been told. Files
appear whole (written under another name first), each under a name of its own, and each side deletes
only what it wrote itself.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from instruments.port_lock import SAME_START_S, lock_directory, make_shared, process_started

LOOK_S: Final = 0.02
"""How often an owner looks for requests."""
FOLDER: Final = "stops"
PLAIN: Final = ("-medium", "-stimulus")
"""Ends of the names of pumps that give no drug."""
REQUEST, HEARD, ANSWER = ".request.json", ".heard.json", ".answer.json"
FRESH_S: Final = 0.5
"""How often an owner that is still busy with a stop says again that it is heard."""
_LONGEST_FILE: Final = 1 << 20
_STALE_S: Final = 3600.0
_LINGER_S: Final = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StopRequest:
    """One process asks another to stop everything."""

    id: str
    owner: tuple[int, float]
    """Process id and start of who is asked."""
    ports: frozenset[str]
    """Names of the locks that it holds."""
    asked_by: str
    """Who asks, for people: ``process 4711 (maria)``."""
    why: str = ""


@dataclass(frozen=True)
class Stopped:
    """What became of the pumps that were told to stop."""

    confirmed: tuple[str, ...] = ()
    """They say themselves that they stand still."""
    may_still_run: Mapping[str, str] = field(default_factory=dict)
    """Pump -> why nobody knows; a person must go there."""

    def __add__(self, other: Stopped) -> Stopped:
        return Stopped(
            self.confirmed + other.confirmed,
            {**self.may_still_run, **other.may_still_run},
        )


class Stoppable(Protocol):
    """What a stop wants of a pump."""

    def stop(self) -> None:
        """Stop now; return once the pump says that it stands still."""


class Reopenable(Protocol):
    """What a stop wants of a port."""

    def reopen(self) -> None:
        """Open the port anew."""


def stop_pumps(pumps: Mapping[str, Stoppable], ports: Mapping[str, Reopenable]) -> Stopped:
    """Stop every pump, whatever the others say; ports at the same time, pumps of one port one after
    the other: those that may give a drug first, since a silent pump keeps the next waiting.

    A pump that did not confirm is told once more when every other has been told, on a port opened
    anew. ``ports`` is pump name -> its port. Never raises.
    """
    behind: dict[int | None, list[str]] = {}
    for name in sorted(pumps, key=is_plain):
        behind.setdefault(id(ports[name]) if name in ports else None, []).append(name)
    found: list[Stopped] = []

    def stop_behind(names: list[str]) -> None:
        found.append(_stop_in_order({name: pumps[name] for name in names}, ports))

    threads = [
        threading.Thread(target=stop_behind, args=(names,), name=f"stop {names[0]}")
        for names in list(behind.values())[1:]
    ]
    for thread in threads:
        thread.start()
    for names in list(behind.values())[:1]:
        stop_behind(names)
    for thread in threads:
        thread.join()
    return sum(found, Stopped())


def is_plain(name: str) -> bool:
    """Return whether a pump is by its name (``LINE-ROLE``) one of medium or stimulus."""
    return name.endswith(PLAIN)


def _stop_in_order(pumps: Mapping[str, Stoppable], ports: Mapping[str, Reopenable]) -> Stopped:
    confirmed, unconfirmed = [], []
    for name, pump in pumps.items():
        try:
            pump.stop()
            confirmed.append(name)
        except Exception:  # whatever one pump does, the others must hear the stop
            unconfirmed.append(name)
    may_still_run = {}
    for name in unconfirmed:
        try:
            if name in ports:
                ports[name].reopen()
            pumps[name].stop()
            confirmed.append(name)
        except Exception as trouble:
            may_still_run[name] = str(trouble)
    return Stopped(tuple(confirmed), may_still_run)


class StopDesk:
    """Two threads of the owner: one looks for requests and says that they are heard, the other has
    them carried out.

    ``ports`` returns the names of the locks that are held now; ``act`` stops everything and may
    take its time, during which the heard files are kept fresh. Requests that come meanwhile are
    carried out together, afterwards.
    """

    def __init__(
        self,
        ports: Callable[[], Set[str]],
        act: Callable[[StopRequest], Stopped],
        directory: Path | None = None,
    ) -> None:
        self._ports, self._act = ports, act
        self._folder = stop_folder(directory)
        self._owner = (os.getpid(), process_started(os.getpid()) or 0.0)
        self._seen: set[str] = set()
        self._waiting: queue.SimpleQueue[StopRequest | None] = queue.SimpleQueue()
        self._unanswered: dict[str, StopRequest] = {}
        self._written: list[tuple[Path, Path]] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, name="stop desk", daemon=True),
            threading.Thread(target=self._carry_out, name="stop", daemon=True),
        ]

    def start(self) -> None:
        """Look for requests from now on."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Look no longer; requests already heard are finished, and their answers left to be read
        for a moment."""
        self._ended.set()
        self._threads[0].join()
        self._waiting.put(None)
        self._threads[1].join()
        end = time.monotonic() + _LINGER_S
        while self._tidy() and time.monotonic() < end:
            time.sleep(LOOK_S)
        for _, ours in self._written:
            delete(ours)

    def _look(self) -> None:
        fresh_s = time.monotonic()
        while not self._ended.wait(LOOK_S):
            try:
                for request in self._new_requests():
                    self._unanswered[request.id] = request
                    self._say(request, HEARD, {})
                    self._waiting.put(request)
                if time.monotonic() - fresh_s > FRESH_S:
                    fresh_s = time.monotonic()
                    for request in list(self._unanswered.values()):
                        self._say(request, HEARD, {})
                    self._tidy()
            except Exception:  # the folder may be gone for a moment; the desk must not be
                _log.exception("stop desk")

    def _new_requests(self) -> Iterator[StopRequest]:
        with os.scandir(self._folder) as entries:
            names = {entry.name for entry in entries if entry.name.endswith(REQUEST)}
        self._seen &= names
        for name in sorted(names - self._seen):
            self._seen.add(name)
            request = read_request(self._folder / name)
            if request is None or request.owner[0] != self._owner[0]:
                continue
            if abs(request.owner[1] - self._owner[1]) < SAME_START_S:
                if request.ports & self._ports():
                    yield request

    def _carry_out(self) -> None:
        while (first := self._waiting.get()) is not None:
            together = [first]
            with suppress(queue.Empty):
                while (more := self._waiting.get_nowait()) is not None:
                    together.append(more)
                self._waiting.put(None)
            try:
                stopped = self._act(first)
            except Exception as trouble:  # told to whoever asked
                _log.exception("stop desk")
                stopped = Stopped((), {"every pump": f"the stop failed in its owner: {trouble!r}"})
            for request in together:
                self._say(request, ANSWER, asdict(stopped))
                self._unanswered.pop(request.id, None)

    def _say(self, request: StopRequest, kind: str, content: dict[str, Any]) -> None:
        path = self._folder / f"{request.id}{kind}"
        asked = self._folder / f"{request.id}{REQUEST}"
        try:
            write_whole(path, content)
            if (asked, path) not in self._written:
                self._written.append((asked, path))
        except OSError as trouble:
            _log.warning("stop request %s can not be answered: %s", request.id, trouble)

    def _tidy(self) -> bool:
        """Delete our answers to requests that have been taken back; return whether others are
        left."""
        for asked, ours in list(self._written):
            if not asked.exists():
                delete(ours)
                self._written.remove((asked, ours))
        return bool(self._written)


@contextmanager
def stop_desk(
    ports: Callable[[], Set[str]],
    act: Callable[[StopRequest], Stopped],
    directory: Path | None = None,
) -> Iterator[StopDesk]:
    """Have a desk open for the length of a block."""
    desk = StopDesk(ports, act, directory)
    desk.start()
    try:
        yield desk
    finally:
        desk.close()


# --- the files


def stop_folder(directory: Path | None = None) -> Path:
    """Return the folder of requests and answers, made where it was missing."""
    directory = directory or lock_directory()
    make_shared(directory)
    folder = directory / FOLDER
    make_shared(folder)
    _sweep(folder)
    return folder


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a file that every user may read and that appears only when it is complete."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        delete(Path(name))
        raise


def read_file(path: Path) -> dict[str, Any] | None:
    """Return the content of a request or an answer; None where there is none, or not a proper one."""
    try:
        if not path.is_file() or path.is_symlink() or path.stat().st_size > _LONGEST_FILE:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_answer(path: Path) -> Stopped | None:
    """Return the answer in a file; None while there is none."""
    content = read_file(path)
    if content is None:
        return None
    try:
        running = {str(pump): str(why) for pump, why in content["may_still_run"].items()}
        return Stopped(tuple(map(str, content["confirmed"])), running)
    except (AttributeError, KeyError, TypeError) as trouble:
        return Stopped((), {"every pump": f"its owner's answer is not understood: {trouble!r}"})


def write_request(folder: Path, request: StopRequest) -> Path:
    """Put a request there; the returned file is the asker's to delete."""
    path = folder / f"{request.id}{REQUEST}"
    about = asdict(request) | {"ports": sorted(request.ports)}
    write_whole(path, about)
    return path


def read_request(path: Path) -> StopRequest | None:
    """Return the request in a file; None where it is none. Its id is that of the file's name."""
    content = read_file(path)
    try:
        assert content is not None
        pid, began = content["owner"]
        return StopRequest(
            path.name.removesuffix(REQUEST),
            (int(pid), float(began)),
            frozenset(map(str, content["ports"])),
            str(content["asked_by"]),
            str(content.get("why", "")),
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


def delete(ours: Path) -> None:
    """Delete a file of this side; safe to repeat."""
    with suppress(OSError):  # the other side may be reading it, which Windows minds; swept later
        ours.unlink()


def _sweep(folder: Path) -> None:
    """Delete this user's own files that a process left behind when it was killed."""
    me = os.getuid() if hasattr(os, "getuid") else None
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.endswith((REQUEST, HEARD, ANSWER, ".new")):
                continue  # a wire record: never deleted
            with suppress(OSError):
                facts = path.lstat()
                if time.time() - facts.st_mtime > _STALE_S and me in (None, facts.st_uid):
                    path.unlink()
