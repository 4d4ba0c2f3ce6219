"""A teaching case as lines of text: what is asked, what came of it, how it ended.

Belongs here: form. Not here: asking (twin_teach), what is true (chiploop.twin.teaching.content).
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

WIDTH = 100
BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "01234567"
VISIT_WORDS = ("first visit", "second visit", "third visit")
Told = dict[str, Any]


def head(told: Told) -> list[str]:
    """Return the case as it is told."""
    title = f"Case {told['case']} of seed {told['seed']}"
    lines = [f"{title}    {told['note']}", ""]
    for line in told["history"]:
        lines += textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return [*lines, "", *textwrap.wrap(rules(told), WIDTH)]


def rules(told: Told) -> str:
    """Return how a case is played and scored."""
    *visits, end = told["weeks"]
    share = {part: f"{100 * weight:.0f} %" for part, weight in told["weights"].items()}
    return (
        f"You decide at weeks {', '.join(map(str, visits))}; the case ends at week {end}. The score: "
        f"{share['outcome']} mean fall of EASI less prices, against every other plan in this same patient; "
        f"{share['calibration']} your probabilities against what happened; {share['tests']} what tests cost."
    )


def listed(number: int, told: list[str]) -> list[str]:
    """Return a case of a list."""
    return [
        "",
        *textwrap.wrap(
            " ".join(told), WIDTH, initial_indent=f"{number:>4}  ", subsequent_indent="      "
        ),
    ]


def before(told: Told) -> list[str]:
    """Return what stands above a question."""
    if told["asks"] == "tests":
        return ["", *visit_line(told), *tests_table(told)]
    if told["asks"] == "treatment":
        return ["", *treatments_table(told)]
    return []


def visit_line(told: Told) -> list[str]:
    """Return where the case stands."""
    reading = told["readings"][-1]
    words = VISIT_WORDS[len(told["choices"])]
    said = f"Week {told['week']}, {words}: EASI {reading['EASI']:.1f} ({reading['severity']})"
    if told["choices"]:
        first, last = told["readings"][0]["EASI"], told["choices"][-1]["treatment"]
        said += f", {fall(first, reading['EASI'])} under {last}"
    return [said]


def fall(first: float, now: float) -> str:
    """Return a change of EASI in words."""
    change = 100.0 * (1.0 - now / first)
    return f"{change:.0f} % below the first" if change >= 0 else f"{-change:.0f} % above the first"


def tests_table(told: Told) -> list[str]:
    """Return every test with its cost, and what came of those that were ordered."""
    lines = [f"  {'test':<12}{'cost':>5}  {'result':<18}title"]
    for test in told["tests"]:
        lines.append(
            f"  {test['name']:<12}{test['cost']:>5g}  {when(test, told['week']):<18}{test['title']}"
        )
        lines += result_lines(test, "      ")
    return lines


def when(test: Told, week: int) -> str:
    """Return when a result comes."""
    if test["state"] == "closed":
        return "not any more"
    if test["state"] == "there":
        return "is there"
    if test["state"] == "offered" and test["due_week"] == week:
        return "before you treat"
    return f"week {test['due_week']}"


def result_lines(test: Told, indent: str) -> list[str]:
    """Return the results of a test."""
    shown = [f"{one['name']} {one['value']} {one['unit']}".rstrip() for one in test["results"]]
    if not shown:
        return []
    return textwrap.wrap(
        ", ".join(shown), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  "
    )


def treatments_table(told: Told) -> list[str]:
    """Return the treatments in two columns, without and with topicals."""
    lines = ["  treatment, price in points of the mean fall of EASI for 16 weeks"]
    shown = [
        f"{number:>3} {one['name']:<28}{one['price']:>3g}"
        for number, one in enumerate(told["treatments"], start=1)
    ]
    return [*lines, *("    ".join(shown[i : i + 2]) for i in range(0, len(shown), 2))]


def prompt(told: Told) -> str:
    """Return the question."""
    if told["asks"] == "tests":
        return "Tests to order (names; empty: go on): "
    if told["asks"] == "treatment":
        return "Treatment until the next visit (name or number): "
    first = told["readings"][0]["EASI"]
    week = told["weeks"][len(told["choices"]) + 1]
    return (
        f"Probability in % that EASI at week {week} is {told['response_pct']:g} % or more below the first "
        f"({first:.1f}): "
    )


def refused(problem: object) -> str:
    """Return why an answer can not be taken."""
    return textwrap.fill(str(problem), WIDTH, initial_indent="  ", subsequent_indent="    ")


def after(was: Told, told: Told) -> list[str]:
    """Return what an answer brought."""
    if was["asks"] != "tests" or told["asks"] != "tests":
        return []
    had = {test["name"] for test in was["tests"] if test["state"] in ("there", "waiting")}
    lines = []
    for test in told["tests"]:
        if test["name"] in had or test["state"] not in ("there", "waiting"):
            continue
        if test["state"] == "there":
            lines += result_lines(test, "  ")
        else:
            lines.append(f"  {test['name']}: result at week {test['due_week']}")
    return lines


def visit(told: Told) -> list[str]:
    """Return a case that is going on, as ``--show`` prints it."""
    if told["finished"]:
        return []
    lines = ["", *visit_line(told), *tests_table(told), "", *treatments_table(told)]
    return [*lines, "", f"Asked now: {prompt(told).rstrip(': ')}."]


def end(told: Told) -> list[str]:
    """Return the score and all that explains it; nothing where the case is not over."""
    found = told["debrief"]
    if found is None:
        return []
    score, weights = found["score"], told["weights"]
    lines = ["", f"Score {score['total']:.1f} of 100"]
    words = {
        "outcome": "your plan between the worst and the best for this patient",
        "calibration": "how close your probabilities came to what happened",
        "tests": f"100 less the cost of the tests, {told['tests_cost']:g}",
    }
    lines += [
        f"  {part:<12}{score[part]:>6.1f}  x {weights[part]:.2f}   {said}"
        for part, said in words.items()
    ]
    lines += ["", "This patient under four plans; true EASI, the same random numbers"]
    lines += plans_table(found, ("yours", "best", "twin", "emollient"))
    lines += ["", "What you said, what happened, what the twin knew (its tests are yours)"]
    lines += statements_table(found)
    lines += ["", "Every treatment, kept for all 16 weeks in this patient"]
    lines += kept_table(found)
    lines += [
        "",
        "What drove it: with this as in most patients, the mean fall of EASI would have been",
    ]
    lines += drivers_lines(found)
    return [*lines, "", told["note"]]


def plans_table(found: Told, names: tuple[str, ...]) -> list[str]:
    """Return plans with their courses."""
    highest = max(max(found[name]["EASI"]) for name in names)
    lines = [
        f"  {'':<10}{'EASI, week 0 to 16':<19}{'wk 4':>6}{'wk 8':>6}{'wk 16':>6}{'mean fall':>11}{'price':>7}"
        f"{'worth':>7}{'points':>8}"
    ]
    for name in names:
        one = found[name]
        lines.append(f"  {name:<10}{bars(one['EASI'], highest):<19}{numbers(one)}")
        lines.append(f"  {'':<10}{one['told']}")
    return lines


def numbers(one: Told) -> str:
    """Return the numbers of a plan."""
    easi = "".join(f"{one['EASI'][week]:>6.1f}" for week in (4, 8, 16))
    return f"{easi}{one['mean_fall_pct']:>9.1f} %{one['price']:>7.1f}{one['worth']:>7.1f}{one['points']:>8.1f}"


def bars(values: list[float], highest: float) -> str:
    """Return one bar per week; digits where the screen can not show bars."""
    try:
        BARS.encode(sys.stdout.encoding or "ascii")
        marks = BARS
    except (UnicodeError, LookupError):
        marks = PLAIN_BARS
    return "".join(marks[min(7, int(8 * value / max(highest, 1e-9)))] for value in values)


def statements_table(found: Told) -> list[str]:
    """Return each visit: yours beside the twin's."""
    lines = [
        f"  {'week':<6}{'yours':<26}{'you':>6}{'twin':>7}  {'happened':<10}the twin would have given"
    ]
    for one, said in zip(found["statements"], found["advice"], strict=True):
        bare = said["without_tests"]
        more = "" if bare == said["treatment"] else f" (without tests: {bare})"
        lines.append(
            f"  {one['week']:<6}{one['treatment']:<26}{one['stated_pct']:>4.0f} %{one['twin_pct']:>5.0f} %  "
            f"{'yes' if one['happened'] else 'no':<10}{said['treatment']}{more}"
        )
    return [*lines, f"  points of the twin's probabilities: {found['twin_calibration']:.1f}"]


def kept_table(found: Told) -> list[str]:
    """Return every treatment kept throughout, best first."""
    lines = [
        f"  {'':<29}{'wk 4':>6}{'wk 8':>6}{'wk 16':>6}{'mean fall':>11}{'price':>7}{'worth':>7}{'points':>8}"
    ]
    return [*lines, *(f"  {one['name']:<29}{numbers(one)}" for one in found["kept"])]


def drivers_lines(found: Told) -> list[str]:
    """Return what drove the result."""
    lines = []
    for one in found["drivers"]:
        much = f"{abs(one['points']):.1f} points {'smaller' if one['points'] > 0 else 'larger'}"
        times = f" ({one['times_median']:g} times the median)" if one["times_median"] else ""
        lines += textwrap.wrap(
            f"{much}: {one['told']}{times}", WIDTH, initial_indent="  ", subsequent_indent="      "
        )
    return [
        *(lines or ["  nothing by more than 1 point: an ordinary patient"]),
        f"  {found['no_part']}",
    ]
