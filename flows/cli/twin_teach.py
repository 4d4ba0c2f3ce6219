"""``chiploop twin teach``: cases of simulated patients, played at prompts, from a file or from a pipe.

Belongs here: asking, and where answers come from. Not here: rules and points (chiploop.twin.teaching), text
(twin_teach_text). Research use only; not for clinical decisions.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.twin.teaching.play import Play

LISTED = 12
STOPPED = 130
ASKED_WORDS = {
    "tests": "tests can be ordered",
    "treatment": "a treatment is asked for",
    "probability": "a probability is asked for",
}
MOST_BYTES = 64 * 1024
"""Of a file of answers."""


def teach(
    seed: int = typer.Option(1, "--seed", min=0, max=2**32 - 1, help="Of everything random."),
    case: int = typer.Option(1, "--case", min=1, max=9999, help="Which case of the seed."),
    listed: bool = typer.Option(
        False, "--list", help=f"List the first {LISTED} cases of the seed."
    ),
    answers: Path | None = typer.Option(
        None,
        "--answers",
        metavar="FILE",
        help="Answers, one a line, as at the prompts; - for stdin.",
    ),
    answer: list[str] = typer.Option(
        [],
        "--answer",
        metavar="TEXT",
        help="The next answer; may be repeated. Comes before all others.",
    ),
    show: bool = typer.Option(
        False, "--show", help="Show the case as it stands after each --answer; ask nothing."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Play the case of a simulated patient: order tests, treat over three visits, say how sure you are.

    Research use only; not for clinical decisions. The patient is drawn from the twin's population and hidden; the
    same seed and case are the same patient. At each visit: tests, one treatment, and the probability that EASI
    lies 75 % or more below the first one at the next visit. Scored against every other plan in the same patient.
    Answers come from the terminal, a file or a pipe; what can not be taken is asked again. In a file, a line that
    begins with # is passed over and an empty line is an answer. Exit code 2 for a wrong --answer or where a file
    or pipe ends before the case does, 3 for a file that can not be read, 130 where you leave.
    With --json: {"ok", "patient", "history", "week", "asks", "finished", "answers", "readings", "choices",
    "tests", "treatments", "debrief": {"score", "yours", "best", "twin", "kept", "statements", "advice",
    "drivers"} or null, "research_use_only"}; with --list: {"ok", "seed", "cases"}.
    """
    from chiploop.twin.teaching.cases import case_of
    from chiploop.twin.teaching.content import content
    from chiploop.twin.teaching.play import AnswerRefused, played
    from flows.cli import twin_teach_text as text

    if listed:
        show_cases(seed, as_json)
        return
    if answers is not None and show:
        raise WrongUse("--answers and --show were given; --show asks for no answers")
    try:
        play = played(case_of(seed, case), answer)
    except AnswerRefused as problem:
        raise WrongUse(f"--answer: {problem}") from None
    tell = quiet if as_json else print
    if not show:
        lines = source_of(answers)
        play = ask_all(play, tell) if lines is None else take_all(play, lines, tell)
    told = content(play)
    if as_json:
        print_json({"ok": True, **told})
    elif show:
        print("\n".join([*text.head(told), *text.visit(told), *text.end(told)]))
    else:
        print("\n".join(text.end(told)))


def quiet(*_: object) -> None:
    """Tell nothing: standard output is for the JSON object alone."""


def show_cases(seed: int, as_json: bool) -> None:
    """Print the first cases of a seed."""
    from chiploop.twin import RESEARCH_USE
    from chiploop.twin.teaching.cases import case_of, history
    from flows.cli import twin_teach_text as text

    cases = {number: history(case_of(seed, number)) for number in range(1, LISTED + 1)}
    if as_json:
        found = [{"case": number, "history": told} for number, told in cases.items()]
        print_json({"ok": True, "seed": seed, "cases": found, "research_use_only": True})
        return
    print(f"Cases of seed {seed}; there are 9999. {RESEARCH_USE}")
    for number, told in cases.items():
        print("\n".join(text.listed(number, told[1:-1])))


def source_of(answers: Path | None) -> Iterator[str] | None:
    """Return the lines that answers come from; None where a person sits there."""
    if answers is not None and str(answers) != "-":
        try:
            with answers.open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
        except OSError as problem:
            raise FileNotValid(f"{answers} can not be read: {problem.strerror}") from None
        if len(raw) > MOST_BYTES:
            raise FileNotValid(f"{answers}: a file of answers holds at most {MOST_BYTES} bytes")
        return iter(without_comments(raw.decode("utf-8-sig", "replace").splitlines()))
    if answers is None and sys.stdin.isatty():
        return None
    return iter(without_comments(line.rstrip("\r\n") for line in sys.stdin))


def without_comments(lines: Iterator[str] | list[str]) -> Iterator[str]:
    """Yield the lines that are answers."""
    return (line for line in lines if not line.lstrip().startswith("#"))


def ask_all(play: Play, tell: Callable[..., None]) -> Play:
    """Return the play after a person has answered everything; leaves where the person does."""
    try:
        return converse(play, typed, tell)
    except Left as left:
        print(f"\n{way_back(left.play)}", file=sys.stderr)
        raise typer.Exit(STOPPED) from None


def take_all(play: Play, lines: Iterator[str], tell: Callable[..., None]) -> Play:
    """Return the play after the answers of a file or pipe; WrongUse where they end too early."""

    def next_line(prompt: str) -> str:
        line = next(lines, None)
        if line is None:
            raise EOFError
        tell(f"{prompt}{line}")
        return line

    try:
        return converse(play, next_line, tell)
    except Left as left:
        raise WrongUse(
            f"the answers end before the case does: at week {left.play.week} {ASKED_WORDS[left.play.asks]}. "
            f"{way_back(left.play)}"
        ) from None


class Left(Exception):
    """The person left, or the answers ended."""

    def __init__(self, play: Play) -> None:
        super().__init__()
        self.play = play


def converse(play: Play, ask: Callable[[str], str], tell: Callable[..., None]) -> Play:
    """Return the play after every question was answered; what can not be taken is asked again. Raises Left."""
    from chiploop.twin.teaching.content import content
    from chiploop.twin.teaching.play import AnswerRefused, answered
    from flows.cli import twin_teach_text as text

    told = content(play)
    tell("\n".join(text.head(told)))
    shown = ("", -1)
    while play.asks != "nothing":
        if shown != (play.asks, play.week):
            for line in text.before(told):
                tell(line)
            shown = (play.asks, play.week)
        try:
            answer = ask(text.prompt(told))
        except (EOFError, KeyboardInterrupt):
            raise Left(play) from None
        try:
            play = answered(play, answer)
        except AnswerRefused as problem:
            # before the next prompt, on the same stream
            stream = sys.stderr if tell is quiet else sys.stdout
            print(paint(text.refused(problem), "yellow", stream), file=stream, flush=True)
            continue
        before, told = told, content(play)
        for line in text.after(before, told):
            tell(line)
    return play


def typed(prompt: str) -> str:
    """Return what a person types; the prompt goes where it does not disturb a JSON object."""
    print(prompt, end="", file=sys.stderr if not sys.stdout.isatty() else sys.stdout, flush=True)
    return input()


def way_back(play: Play) -> str:
    """Return the command that goes on where a play was left."""
    words = [
        "chiploop",
        "twin",
        "teach",
        "--seed",
        str(play.case.seed),
        "--case",
        str(play.case.number),
    ]
    for one in play.answers:
        words += [f"--answer={one}"] if one.startswith("-") else ["--answer", one]
    return f"To go on: {shlex.join(words)}"
