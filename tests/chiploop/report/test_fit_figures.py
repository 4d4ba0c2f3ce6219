"""Figures of a fit: each can be drawn from any review, says what it shows, and marks what a person must see."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from chiploop.fit_review import FitReview
from chiploop.report.fit_figures import FitFigure, fit_figures, waterfall_figure
from chiploop.report.svg import drawn
from tests.chiploop.test_fit_review import censored, later_is_higher, made, reviewed

DONORS = ("d1", "d2")


@pytest.fixture(scope="module")
def review() -> FitReview:
    return reviewed(*made())


@pytest.fixture(scope="module")
def doubtful() -> FitReview:
    """A study with a trend in time and a censored reading."""

    def changed(used: list) -> list:  # type: ignore[type-arg]
        used = later_is_higher(used)
        used[8] = censored("A", 24.0, 1, "left", upper=float(np.log(used[8].value)) + 0.1)
        return used

    return reviewed(*made(1, changed))


def of(review: FitReview, name: str) -> FitFigure:
    return next(one for one in fit_figures(review, DONORS) if one.name == name)


def text_of(figure: FitFigure) -> str:
    made_of = drawn(figure.name, figure.title, figure.draw, False)
    assert not made_of.problem
    return " ".join(re.findall(r">([^<>]+)</text>", made_of.svg))


def lines(figure: Figure, colour: str) -> list[np.ndarray]:
    return [
        np.asarray(line.get_xydata())
        for ax in figure.axes
        for line in ax.lines
        if line.get_color() == colour and line.get_linestyle() == "-"
    ]


def test_every_figure_is_drawn_and_the_same_again(doubtful: FitReview) -> None:
    found = fit_figures(doubtful, DONORS)
    assert [one.name for one in found] == [
        "fit-parameters", "fit-residuals", "fit-places", "fit-pairs", "fit-profiles", "fit-searches",
    ]  # fmt: skip
    for one in found:
        first, second = (drawn(one.name, one.title, one.draw, True) for _ in range(2))
        assert not first.problem and first.svg == second.svg
        assert "SIMULATED" in first.svg


def test_without_profiles_their_figure_is_left_out(review: FitReview) -> None:
    found = fit_figures(replace(review, profiles=None), DONORS)
    assert "fit-profiles" not in [one.name for one in found] and len(found) == 5


def test_captions_say_of_which_kind_and_level_intervals_are(review: FitReview) -> None:
    captions = {one.name: one.caption for one in fit_figures(review, DONORS)}
    assert "90 % equal-tailed credible intervals" in captions["fit-parameters"]
    assert "95 % of a right model's counts" in captions["fit-places"]
    assert "90 % of single readings of a right model" in captions["fit-residuals"]
    assert "profile intervals" in captions["fit-profiles"]


def test_a_trend_is_drawn_and_named_only_where_it_is_seen(
    review: FitReview, doubtful: FitReview
) -> None:
    assert "TREND" not in text_of(of(review, "fit-residuals"))
    said = text_of(of(doubtful, "fit-residuals"))
    assert "TREND" in said and "trend beyond chance" in said and "censored" in said


def test_residuals_stand_where_the_table_says(doubtful: FitReview) -> None:
    figure = of(doubtful, "fit-residuals").draw()
    shown = sorted(
        float(y)
        for ax in figure.axes[::2]
        for line in ax.lines
        if line.get_linestyle() == "None"
        for y in line.get_ydata()
    )
    assert shown == pytest.approx(sorted(row.residual for row in doubtful.residuals))
    hollow = [
        line
        for ax in figure.axes[::2]
        for line in ax.lines
        if line.get_markerfacecolor() == "white" and len(line.get_ydata())
    ]
    assert sum(len(line.get_ydata()) for line in hollow) == 1


def test_places_that_do_not_fit_ask_for_a_look(review: FitReview) -> None:
    assert "LOOK" not in text_of(of(review, "fit-places"))
    bad = replace(review, place_checks=(replace(review.place_checks[0], p_value=0.001),))
    assert "LOOK, p 0.001" in text_of(of(bad, "fit-places"))


def test_profiles_pass_through_their_points_and_name_the_verdict(review: FitReview) -> None:
    figure = of(review, "fit-profiles").draw()
    for ax, profile in zip(figure.axes, review.profiles.of_parameters, strict=False):
        curve = next(line for line in ax.lines[::-1] if len(line.get_xdata()) > 100)
        x, y = curve.get_xdata(), curve.get_ydata()
        inside = profile.fall < 4.0
        at_points = np.interp(np.log(profile.values), np.log(x), y)
        assert at_points[inside] == pytest.approx(profile.fall[inside], abs=0.05)
    assert text_of(of(review, "fit-profiles")).count("learned") == 3


def test_intervals_stand_where_the_table_says(review: FitReview) -> None:
    ax = of(review, "fit-parameters").draw().axes[0]
    drawn_at = {
        tuple(np.round(line.get_xdata(), 6)) for line in ax.lines if line.get_linewidth() == 3.4
    }
    assert drawn_at == {(round(one.z_lower, 6), round(one.z_upper, 6)) for one in review.parameters}


def test_pairs_are_the_strongest_first_with_the_particles_of_both(review: FitReview) -> None:
    strengths = [abs(pair.correlation) for pair in review.pairs]
    assert strengths == sorted(strengths, reverse=True) and len(strengths) == 3
    figure = of(review, "fit-pairs").draw()
    for ax, pair in zip(figure.axes, review.pairs, strict=False):
        (dots,) = (line for line in ax.lines if line.get_linestyle() == "None")
        assert dots.get_xydata() == pytest.approx(pair.places)
        assert (ax.get_xlabel(), ax.get_ylabel()) == (pair.first, pair.second)
        assert f"{pair.correlation:+.2f}".replace("-", "−") in ax.get_title("left")


def test_the_waterfall_counts_searches_at_the_best_and_shows_those_that_never_began() -> None:
    figure = waterfall_figure((-10.0, -10.2, -14.0, -np.inf))
    ax = figure.axes[0]
    assert ax.get_title().startswith("2 of 4 searches")
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    assert list(crosses.get_xdata()) == [4]
    low, high = sorted(ax.get_ylim())
    assert low < 0.0 and high > crosses.get_ydata()[0]


@pytest.mark.parametrize("heights, said", [((), "no search"), ((-np.inf,), "could begin")])
def test_what_is_not_there_is_told_in_its_place(heights: tuple[float, ...], said: str) -> None:
    made_of = drawn("x", "x", lambda: waterfall_figure(heights), False)
    assert said in made_of.problem and not made_of.svg
