"""Chips side by side are what the model says of them, and what it does not know is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import TissueModel, load_model
from chiploop.what_if import Question, chips_of, rows, sampling_times, what_if

ASKED = Question(
    hours=96.0,
    every_h=12.0,
    stimulus_nm={"IL-4": 0.5 / 15.0, "IL-13": 1.0 / 12.6},
    drugs_nm=(100.0, 1000.0),
)


@pytest.fixture(scope="module")
def model() -> TissueModel:
    return load_model("skin_chip")


def test_one_chip_is_untouched_one_stimulated_and_one_more_for_each_dose() -> None:
    assert [name for name, *_ in chips_of(ASKED)] == [
        *("control", "stimulus", "stimulus + 100 nM", "stimulus + 1000 nM")
    ]
    assert [name for name, *_ in chips_of(Question(drugs_nm=(5.0,)))] == ["control", "5 nM"]


def test_the_last_value_is_at_the_end_also_where_it_comes_early() -> None:
    assert sampling_times(24.0, 6.0).tolist() == [0, 6, 12, 18, 24]
    assert sampling_times(10.0, 4.0).tolist() == [0, 4, 8, 10]
    assert sampling_times(0.3, 0.1).size == 4


def test_values_are_those_of_the_model_with_the_same_inlet(model: TissueModel) -> None:
    told = what_if(model, ASKED)
    inlet = ChipInlet(
        "C",
        np.array([0.0, 24.0, 48.0, 96.0]),
        np.array(
            [
                [60.0, 0.0, 0.0, 0.0],
                [60.0, 0.0, 0.5 / 15.0, 1.0 / 12.6],
                [60.0, 1000.0, 0.5 / 15.0, 1.0 / 12.6],
            ]
        ),
        {},
    )
    own = np.array([[model.compiled.defaults[name] for name in model.estimated_names]])
    times = np.arange(0.0, 97.0, 12.0)
    plain = model.simulate(own, [inlet], times, np.concatenate([[np.nan], times[:-1]]))
    np.testing.assert_allclose(told.value[3], plain.readouts[0, 0], rtol=1e-3, atol=1e-5)
    teer = [spec.name for spec in told.readouts].index("TEER")
    assert told.value[1, -1, teer] < told.value[2, -1, teer] < told.value[3, -1, teer]
    assert told.value[3, -1, teer] < told.value[0, -1, teer]
    assert np.isnan(told.low).all()
    assert told.stimulus == "IL-4 0.5 ng/mL (0.0333 nM), IL-13 1 ng/mL (0.0794 nM)"


def test_draws_give_a_band_around_their_median_and_the_seed_gives_them_again(
    model: TissueModel,
) -> None:
    asked = replace(ASKED, draws=40, seed=3)
    first, again = what_if(model, asked), what_if(model, asked)
    np.testing.assert_array_equal(first.value, again.value)
    shown = np.isfinite(first.value)
    assert (first.low[shown] <= first.value[shown]).all()
    assert (first.value[shown] <= first.high[shown]).all()
    assert (first.low[0, :, 0] < first.high[0, :, 0]).all()
    other = what_if(model, replace(asked, seed=4))
    assert not np.array_equal(first.value[shown], other.value[shown])


def test_a_value_that_is_set_stands_in_every_draw(model: TissueModel) -> None:
    everything = {spec.name: spec.center for spec in model.estimated}
    told = what_if(model, replace(ASKED, draws=10, values=everything))
    shown = np.isfinite(told.value)
    np.testing.assert_allclose(told.low[shown], told.high[shown], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"), [("IC50", 3.0), ("fu", 0.1), ("free_fraction", 0.1), ("S0", 5.0)]
)
def test_estimated_file_and_text_constants_can_all_be_set(
    model: TissueModel, name: str, value: float
) -> None:
    plain, changed = what_if(model, ASKED), what_if(model, replace(ASKED, values={name: value}))
    assert not np.allclose(plain.value[3, -1], changed.value[3, -1], rtol=1e-3)


def test_a_symbol_and_its_name_in_a_file_are_one_thing(model: TissueModel) -> None:
    by_name = what_if(model, replace(ASKED, values={"free_fraction": 0.2}))
    by_symbol = what_if(model, replace(ASKED, values={"fu": 0.2}))
    np.testing.assert_array_equal(by_name.value, by_symbol.value)


def test_the_value_of_the_text_changes_nothing(model: TissueModel) -> None:
    same = replace(ASKED, values={"S0": 1.0, "kp": 20.0}, flow_rate_ul_h=60.0)
    np.testing.assert_array_equal(what_if(model, ASKED).value, what_if(model, same).value)


REFUSED = [
    ({"stimulus_nm": {"IL-5": 1.0}}, "no stimulus of model skin_chip; allowed: IL-4, IL-13"),
    ({"values": {"IC05": 1.0}}, "did you mean IC50"),
    ({"values": {"Q": 1.0}}, "is an input of model skin_chip"),
    ({"values": {"wF": 2.0}}, "its prior allows 0 to 0.98"),
    ({"values": {"IC50": -1.0}}, "its prior allows above 0"),
    ({"values": {"S0": np.nan}}, "not a number"),
    ({"hours": 0.0}, "0 hours"),
    ({"hours": 12.0, "every_h": 6.0}, "the stimulus begins at 24 h"),
    ({"drug_from_h": 96.0}, "the drug begins at 96 h"),
    ({"every_h": 100.0}, "up to the 96 h"),
    ({"every_h": 1e-9}, "too often"),
    ({"drugs_nm": (5.0, 5.0)}, "asked twice"),
    ({"draws": 100_000, "every_h": 0.1}, "too many for one call"),
]


@pytest.mark.parametrize(("changed", "said"), REFUSED)
def test_what_the_model_does_not_know_is_refused(
    model: TissueModel, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(WrongUse, match=said):
        what_if(model, replace(ASKED, **changed))  # type: ignore[arg-type]


def test_values_with_which_a_chip_does_not_simulate_are_told(model: TissueModel) -> None:
    with pytest.raises(FileNotValid, match="does not simulate"):
        what_if(model, replace(ASKED, values={"V_ch": 0.0}))


def test_rows_are_tidy_and_leave_out_windows_that_have_not_begun(model: TissueModel) -> None:
    found = list(rows(what_if(model, ASKED)))
    # TEER, P_app and coverage at moments; proteins and release by window
    assert len(found) == 4 * (3 * 9 + 5 * 8)
    assert found[0][:3] == (0.0, "control", "TEER")
    assert {row[4] for row in found} == {"ohm*cm2", "cm/s", "pg/mL", "1"}
