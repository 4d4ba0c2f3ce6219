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
    _worker: subprocess.Popen[str] | None = None
    _one_by_one: threading.Lock = field(default_factory=threading.Lock)
    _jobs: dict[tuple[str, ...], _Job] = field(default_factory=dict)
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def carry_out(self, words: Sequence[str]) -> Answer:
        """Carry out one command; what it prints as JSON is the answer."""
        with self._one_by_one:
            worker = self._worker
            if worker is None or worker.poll() is not None:
                worker = self._worker = self._start_worker()
            assert worker.stdin is not None and worker.stdout is not None
            try:
                asked = [*words, "--runs", str(self.runs), "--json"]
                worker.stdin.write(json.dumps(asked) + "\n")
                worker.stdin.flush()
                line = worker.stdout.readline()
                said = json.loads(line)
                return Answer(int(said["code"]), said["told"])
            except (OSError, ValueError, KeyError):
                worker.kill()
                worker.wait()
                self._worker = None
                with contextlib.suppress(OSError):
                    worker.stdin.close()
                worker.stdout.close()
                return Answer(1, LOST)

    def _start_worker(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.review_hands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=options(self.runs, self.record_url),
        )

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
        if self._worker is not None and self._worker.poll() is None:
            assert self._worker.stdin is not None
            self._worker.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.wait(5.0)
            self._worker.kill()
            self._worker.wait()
        if self._worker is not None:
            for stream in (self._worker.stdin, self._worker.stdout):
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
