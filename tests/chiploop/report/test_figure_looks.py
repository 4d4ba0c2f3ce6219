"""A figure follows the reader's setting: every colour has a dark one that is seen, and nothing else changes."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure

from chiploop.report import svg
from chiploop.report.chip_figures import STRONGEST
from chiploop.report.compare_figures import LOOKS as OF_RUNS
from chiploop.report.figure_looks import BLACK, DARK_PAPER, KEPT, LOOKS, PAPER, in_two_looks
from chiploop.report.fit_page import environment
from chiploop.report.page_parts import picture
from chiploop.report.what_if_figure import CONTROL, DRUGS, STIMULUS

SURFACES = {"#ffffff", "#e3e6ea", "#d5dbe1", "#e9edf1", "#c3d4e6"}
"""Paper, grid, bands: what lies behind marks."""
BAND = "#c3d4e6"
LETTERS = ("#222222", "#5f6b76", "#cc3311", "#b00020", "#3f6f9f")
HEAD = '<svg viewBox="0 0 9 9">'


def light_of(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    low, high = sorted((light_of(one), light_of(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_ruler_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colour", [one for one in LOOKS if one not in SURFACES])
def test_every_mark_is_seen_on_paper_and_letters_are_read_in_both_looks(colour: str) -> None:
    least = 4.5 if colour in LETTERS else 3.0
    assert contrast(colour, PAPER) >= least
    assert contrast(LOOKS[colour][1], DARK_PAPER) >= least


@pytest.mark.parametrize("colour", [one.lower() for one in (*svg.DONOR_COLOURS, svg.MEAN)])
def test_marks_of_chips_are_seen_on_the_predictive_band_too(colour: str) -> None:
    assert contrast(colour, BAND) >= 3.0
    assert contrast(LOOKS[colour][1], LOOKS[BAND][1]) >= 3.0


@pytest.mark.parametrize("is_dark", [False, True])
def test_numbers_in_the_bar_of_doses_are_read_on_the_strongest_dose(is_dark: bool) -> None:
    dose, ink, paper = (
        LOOKS[one.lower()][1] if is_dark else one for one in (svg.DOSE, svg.INK, PAPER)
    )
    mixed = [
        round(STRONGEST * int(dose[i : i + 2], 16) + (1.0 - STRONGEST) * int(paper[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    assert contrast(ink, "#" + "".join(f"{one:02x}" for one in mixed)) >= 4.5


def test_names_and_dark_colours_are_one_each_and_every_colour_of_the_figures_has_them() -> None:
    assert len({name for name, _ in LOOKS.values()}) == len(LOOKS)
    named = [
        svg.INK,
        svg.QUIET,
        svg.MEAN,
        svg.PREDICTIVE,
        svg.BAND,
        svg.TRUTH,
        svg.FAILED,
        svg.DOSE,
    ]
    named += [*svg.DONOR_COLOURS, *(one[1] for one in OF_RUNS), CONTROL, STIMULUS, *DRUGS]
    assert {one.lower() for one in named} <= set(LOOKS)
    for some in (svg.DONOR_COLOURS, DRUGS):
        assert len({LOOKS[one.lower()][1] for one in some}) == len(some)
    style = environment().get_template("page_style.css.j2").render(simulated=False, mark="")
    assert f"--paper:{PAPER};" in style and f"--paper:{DARK_PAPER};" in style


def test_a_colour_becomes_a_variable_with_both_values_and_an_address_does_not() -> None:
    text = in_two_looks(
        f'{HEAD}<path style="fill:#222222;stroke:#fdfdfd"/><use href="#f12345"/>'
        '<g clip-path="url(#f22222-1)"/></svg>',
        "f1",
    )
    assert '<path style="fill:var(--a);stroke:#fdfdfd"/>' in text
    assert 'href="#f12345"' in text and "url(#f22222-1)" in text
    light, dark = LOOKS["#222222"][1], LOOKS[BLACK][1]
    assert (
        f"@media screen and (prefers-color-scheme:dark){{.f1{{--a:{light};--k:{dark};}}}}" in text
    )
    assert ".f1{--a:#222222;--k:#000000;fill:var(--k)}" in text
    assert "--b:" not in text  # what is not used is not said


def figure() -> Figure:
    made = Figure(figsize=(3.0, 2.0))
    ax = made.subplots()
    ax.set_title("title")
    for colour in svg.DONOR_COLOURS:
        ax.plot([1, 2, 3], [1, 3, 2], "o-", color=colour, mec="white")
    ax.fill_between([1, 3], [1, 1], [2, 2], color=svg.PREDICTIVE)
    ax.text(1.0, 1.0, "black", color="black")
    return made


def test_a_drawn_figure_says_no_colour_outside_its_sheet_and_is_the_same_every_time() -> None:
    one = svg.drawn("n", "label", figure, simulated=True)
    assert one.problem == "" and one == svg.drawn("n", "label", figure, simulated=True)
    rules = re.findall(r"(?:--\w:#[0-9a-f]{6};)+", one.svg)
    assert len(rules) == 2
    rest = re.sub(r"--\w:#[0-9a-f]{6};", "", one.svg)
    assert set(re.findall(r":(#[0-9a-fA-F]{3,8})\b", rest)) <= set(KEPT)
    used, said = (set(re.findall(rf"{begin}(--\w)\b", one.svg)) for begin in (r"var\(", r"[;{]"))
    assert used == said


def test_with_its_light_colours_put_back_a_figure_is_what_matplotlib_drew() -> None:
    with matplotlib.rc_context(svg.STYLE):  # type: ignore[arg-type]
        buffer = io.StringIO()
        figure().savefig(buffer, format="svg")
    text = svg.drawn("n", "label", figure, simulated=False).svg
    light: dict[str, Any] = {name: colour for colour, (name, _) in LOOKS.items()}
    body = text.partition("@media")[2].partition("}}")[2]
    colours = {light[name] for name in re.findall(r"var\(--(\w)\)", body)}
    assert colours >= set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", buffer.getvalue()))


def test_a_figure_in_a_file_of_its_own_has_its_sheet_with_it(tmp_path: Any) -> None:
    shown = picture(svg.drawn("n", "label", figure, simulated=False), tmp_path)
    text = (tmp_path / shown["src"]).read_text()
    root = re.match(r'<svg [^>]*class="(\w+)"', text)
    assert root is not None and f"{{.{root[1]}{{" in text
