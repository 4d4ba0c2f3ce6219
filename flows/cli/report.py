"""``chiploop report``: the report of a run made again from its record, compared with another, printed, in figures.

Belongs here: options, where files go, what is told. Not here: the pages (chiploop.report).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, known_run
from flows.cli.output_files import write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.report.html_report import RunEvidence


def report(
    run: str = RUN,
    compare: str = typer.Option("", "--compare", metavar="RUN2", help="Put another run beside it."),
    pdf: bool = typer.Option(False, "--pdf", help="Write each page as a PDF too."),
    figures: Path | None = typer.Option(
        None, "--figures", metavar="DIR", help="Write every figure as SVG, PNG and CSV too."
    ),
    out: Path | None = typer.Option(
        None, "--out", metavar="DIR", help="Folder for the pages; by default the run's own."
    ),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make the report of a run again from what is on record now, at any time.

    One HTML file without script that needs no network; the same record gives the same bytes. A figure that can not
    be drawn says so in its place. With --compare a second page, compare_<RUN2>.html, has goals, doubt, doses and
    parameters of both side by side, and figures with both. --pdf prints with Chromium, Chrome or Edge where this
    computer has one; otherwise text and figures are written as plain pages. Exit code 2 where a run is
    unknown, 3 where its files are not there. With --json: {"ok", "run", "simulated", "files", "printed_by",
    "not_drawn"}.
    """
    from chiploop.report.compare_page import comparison, write_comparison
    from chiploop.report.figure_files import figures_in, write_figures
    from chiploop.report.html_report import FILE, page, write_page
    from flows.evidence import evidence_of_run
    from flows.record_place import place_of

    if compare == run:
        raise WrongUse("--compare names the same run; name another one")
    written: list[Path] = []
    with ExitStack() as stack:
        record = stack.enter_context(place_of(runs).open_known(create=False))
        simulated = known_run(record, run, runs).simulated
        _, one = stack.enter_context(evidence_of_run(record, run, runs))
        folder = out or one.folder
        if not folder.is_dir():
            raise WrongUse(f"there is no folder {folder}")
        values = page(one)
        pages: list[tuple[Path, dict[str, Any]]] = [(folder / FILE, values)]
        write_to(folder / FILE, lambda path: write_page(values, path))
        if compare:
            known_run(record, compare, runs)
            _, other = stack.enter_context(evidence_of_run(record, compare, runs))
            beside = folder / f"compare_{compare}.html"
            write_to(beside, lambda path: write_comparison(one, other, path))
            pages.append((beside, comparison(one, other)))
        written += [path for path, _ in pages]
        printed_by = ""
        if pdf:
            for path, shown in pages:
                printed_by = print_pdf(path, shown, one)
                written.append(path.with_suffix(".pdf"))
        drawn = [figure for _, shown in pages for figure in figures_in(shown)]
        broken = {figure.name: figure.problem for figure in drawn if figure.make is None}
        if figures is not None:
            write_to(figures, lambda path: written.extend(write_figures(drawn, path)[0]))
    if as_json:
        print_json(
            {
                "ok": True,
                "run": run,
                "simulated": simulated,
                "files": [str(path) for path in written],
                "printed_by": printed_by,
                "not_drawn": broken,
            }
        )
        return
    mark = "SIMULATED  " if simulated else ""
    for path in (
        written if figures is None else written[: len(written) - 3 * (len(drawn) - len(broken))]
    ):
        print(f"{mark}{path}")
    if figures is not None:
        print(f"{mark}{len(drawn) - len(broken)} figures in {figures}")
    for name, problem in broken.items():
        print(f"not drawn: {name}: {problem}")
    if printed_by == PLAIN:
        print("No browser that prints was found: the PDF has text and figures as plain pages.")


PLAIN = "plain pages"


def print_pdf(page: Path, shown: dict[str, Any], one: RunEvidence) -> str:
    """Write a page as a PDF beside it; return who printed it."""
    from chiploop.report.chromium_pdf import browser, print_page

    pdf, program = page.with_suffix(".pdf"), browser()
    if program is not None:
        write_to(pdf, lambda path: print_page(page, path, program))
        return Path(program).name
    from chiploop.report.figure_files import figures_in
    from chiploop.report.figure_pages import write_pages
    from chiploop.report.html_report import plain_lines

    title, figures = one.study.title or one.study.name, figures_in(shown)
    write_to(
        pdf, lambda path: write_pages(path, title, plain_lines(one), figures, one.run.simulated)
    )
    return PLAIN
