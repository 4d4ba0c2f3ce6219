"""The hands of the review page: commands in a warm process, drawing and fits in processes of their own.

Belongs here: starting those processes and hearing what they say. Not here: what a command may do (cli), pages.

The page itself stays small and never waits for a fit. A decision is a command of the command line, carried out in
one process that has loaded what commands need; it decides under this login, as a terminal does. One process, so
that two decisions never race here; the record's own lock tells this process from others.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiploop.review.contracts import Answer, JobName, JobStanding
from flows.record_place import VARIABLE

LOST = {
    "ok": False,
    "error": {
        "code": "CL-100",
        "exit_code": 1,
        "message": "the process that carries out decisions ended; look at the record before you decide again",
    },
}
LOST_LESSON = {
    "ok": False,
    "error": {
        "code": "CL-100",
        "exit_code": 1,
        "message": "the process that calculates lessons ended; send the form again",
    },
}
BUSY = {
    "ok": False,
    "error": {
        "code": "CL-200",
        "exit_code": 2,
        "message": "too many lessons are being calculated; send the form again in a moment",
    },
}
LEARNERS = 4
"""Steps of lessons that may wait for their process; each holds a thread of the page."""
MOST_SAID = 600
AT_ONCE = 1
"""Jobs side by side; the computer is also for the run."""


def options(runs: Path, record_url: str) -> dict[str, str]:
    """Return the environment of the processes: the record that this one was named."""
    return dict(os.environ) | ({VARIABLE: record_url} if record_url else {})


@dataclass
class ProcessHands:
    """Commands and jobs of the runs of one folder."""

    runs: Path
    record_url: str = ""
    """What the command line named; empty where it named none."""
    _decisions: Worker = field(default_factory=lambda: Worker())
    _lessons: Worker = field(default_factory=lambda: Worker(LOST_LESSON))
    """A process of its own: nobody's decision waits for a lesson."""
    _learners: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(LEARNERS))
    _jobs: dict[tuple[str, ...], _Job] = field(default_factory=dict)
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def carry_out(self, words: Sequence[str]) -> Answer:
        """Carry out one command; what it prints as JSON is the answer."""
        asked = [*words, "--runs", str(self.runs), "--json"]
        return self._decisions.answer(asked, options(self.runs, self.record_url))

    def teach(self, words: Sequence[str]) -> Answer:
        """Carry out one step of a lesson; refused where too many wait already."""
        if not self._learners.acquire(blocking=False):
            return Answer(2, BUSY)
        try:
            asked = ["twin", "teach", *words, "--show", "--json"]
            return self._lessons.answer(asked, options(self.runs, self.record_url))
        finally:
            self._learners.release()

    def start(self, name: JobName, run_id: str, *detail: str) -> None:
        """Start a job, where it does not run or wait already."""
        if self.standing(name, run_id, *detail).state in ("waiting", "running"):
            return
        job = self._jobs[name, run_id, *detail] = _Job()
        command = [sys.executable, "-P", "-m", "flows.review_jobs", name, run_id, str(self.runs)]
        command += detail
        threading.Thread(
            target=self._work, args=(job, command), name=f"{name} {run_id}", daemon=True
        ).start()

    def _work(self, job: _Job, command: list[str]) -> None:
        with self._slots:
            if job.standing.state != "waiting":
                return
            environment = options(self.runs, self.record_url)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            job.process, job.standing = process, JobStanding("running")
            _, said = process.communicate()
            # 6: fitted, and not accepted; that is an outcome, not a failure
            good = process.returncode in (0, 6)
            job.standing = JobStanding("done") if good else JobStanding("failed", said[-MOST_SAID:])

    def standing(self, name: JobName, run_id: str, *detail: str) -> JobStanding:
        """Return where a job stands."""
        job = self._jobs.get((name, run_id, *detail))
        return JobStanding("none") if job is None else job.standing

    def close(self) -> None:
        """End what this started: nothing that it decided is lost, and a fit can be made again."""
        for job in self._jobs.values():
            if job.standing.state == "waiting":
                job.standing = JobStanding("failed", "the page was closed")
            if job.process is not None and job.process.poll() is None:
                job.process.kill()
        for worker in (self._decisions, self._lessons):
            worker.close()


@dataclass
class Worker:
    """A warm process that carries out one command after the other; started when it is first needed."""

    lost: dict[str, Any] = field(default_factory=lambda: LOST)
    """What is said where the process ends without an answer."""
    _process: subprocess.Popen[str] | None = None
    _one_by_one: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, words: Sequence[str], environment: dict[str, str]) -> Answer:
        """Carry out one command; what it prints as JSON is the answer."""
        with self._one_by_one:
            process = self._process
            if process is None or process.poll() is not None:
                process = self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "flows.review_hands"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env=environment,
                )
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps(list(words)) + "\n")
                process.stdin.flush()
                said = json.loads(process.stdout.readline())
                return Answer(int(said["code"]), said["told"])
            except (OSError, ValueError, KeyError):
                process.kill()
                process.wait()
                self._process = None
                with contextlib.suppress(OSError):
                    process.stdin.close()
                process.stdout.close()
                return Answer(1, self.lost)

    def close(self) -> None:
        """End the process."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@dataclass
class _Job:
    """One thing that takes long."""

    standing: JobStanding = JobStanding("waiting")
    process: subprocess.Popen[str] | None = None


def answer_of(words: Sequence[str]) -> Answer:
    """Carry out one command in this process."""
    from flows.cli.main import command_line

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = command_line(list(words))
    text = out.getvalue()
    begin = text.find("{")
    try:
        return Answer(code, json.loads(text[begin:]))
    except ValueError:
        told = {"code": "CL-100", "exit_code": code, "message": text.strip()[-MOST_SAID:]}
        return Answer(code, {"ok": code == 0, "error": told})


def main() -> int:
    """Carry out the commands that come as lines until there are no more."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    answers = sys.stdout
    for line in sys.stdin:
        said = answer_of(json.loads(line))
        answers.write(json.dumps({"code": said.exit_code, "told": said.told}) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
