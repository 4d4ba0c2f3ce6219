"""Impedance files: every format gives one spectrum; what is cut, doubled, turned or garbled is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.errors import FileNotValid
from chiploop.exports.impedance_file import MARKED_BAD, NO_NUMBER, ImpedanceFile
from chiploop.exports.impedance_readers import (
    IMPEDANCE_READERS,
    read_impedance,
    read_impedance_bytes,
)
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown
from tests.chiploop.exports import impedance_texts as texts
from tests.chiploop.exports.impedance_texts import HZ, SOUND, impedance

PLAIN = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def read(text: str | bytes) -> ImpedanceFile:
    return read_impedance_bytes(text.encode() if isinstance(text, str) else text, "a.txt")


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_file_gives_its_spectrum_in_the_order_measured(case: str) -> None:
    key, data = SOUND[case]
    found = read(data)
    assert found.format == key and found.flags == ()
    assert np.allclose(found.frequency_hz, HZ, rtol=1e-6)
    assert np.allclose(found.impedance_ohm, impedance(), rtol=1e-4)
    assert found.status == (0,) * 16 and len(set(found.lines)) == 16
    assert any("untried" in note for note in found.notes) == IMPEDANCE_READERS[key].untried
    spectrum = found.spectrum("C01", 3.0)
    assert (spectrum.chip_id, spectrum.time_h) == ("C01", 3.0)


def test_a_decimal_comma_and_a_code_page_are_said() -> None:
    notes = " ".join(read(SOUND["biologic_comma"][1]).notes)
    assert "decimal comma" in notes and "cp1252" in notes


def test_what_a_file_says_of_its_area_is_kept_and_nothing_more() -> None:
    assert read(SOUND["biologic"][1]).area_cm2 == 0.33
    assert read(SOUND["gamry"][1]).area_cm2 == 1.0
    assert read(SOUND["csv"][1]).area_cm2 is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (texts.gamry(HZ[:9], aborted=True), "line 20: the experiment was aborted"),
        (texts.gamry(HZ[:9]), "line 19: the sweep ends at"),
        (texts.biologic(HZ[:9]), "line 20: the sweep ends at"),
        (texts.zplot(HZ[:9], declared=16), "line 18: 9 of 16 points"),
        (texts.plain_csv().replace("points: 16", "points: 20"), "16 of 20 points"),
    ],
)
def test_a_sweep_that_ended_early_is_flagged_with_its_line(text: str, said: str) -> None:
    assert any(flag.startswith(said) or said in flag for flag in read(text).flags)


@pytest.mark.parametrize("case", SOUND)
def test_a_file_cut_anywhere_is_refused_or_flagged(case: str) -> None:
    _, data = SOUND[case]
    whole = read(data)
    undeclared = case == "pstrace_comma"
    silent = 0
    for end in range(1, len(data)):
        try:
            found = read(data[:end])
        except FileNotValid:
            continue
        if found.flags:
            continue
        n = found.frequency_hz.size
        # nothing but whole points, as they were
        assert np.array_equal(found.impedance_ohm, whole.impedance_ohm[:n])
        if n < 16:
            silent += 1
            assert undeclared, end
    # a file without a count or an end can be cut between two lines unseen, as the page says
    assert silent > 0 if undeclared else silent == 0


@pytest.mark.parametrize("case", SOUND)
def test_a_line_twice_is_refused_and_a_second_sweep_too(case: str) -> None:
    _, data = SOUND[case]
    encoding = read(data).encoding
    text = data.decode("utf-16" if encoding.startswith("utf-16") else encoding)
    lines = text.splitlines(keepends=True)
    again = "".join([*lines, lines[-1]])
    with pytest.raises(FileNotValid, match="the same as line|twice"):
        read(again)
    changed = [
        line.replace("1", "2", 1) if i == len(lines) else line for i, line in enumerate(lines)
    ]
    both = "".join([*changed, *(line.replace("9", "8") for line in lines[-16:-1])])
    with pytest.raises(FileNotValid):
        read(both)


def test_a_second_sweep_is_refused_with_its_line() -> None:
    rows = [f"{f:.6g},{1000 + i + 0.5},-{20 + i}.5" for i, f in enumerate([*HZ, *HZ])]
    with pytest.raises(FileNotValid, match="line 18: .* more than one sweep"):
        read("\n".join(["frequency_hz,z_real_ohm,z_imag_ohm", *rows]) + "\n")


def test_a_frequency_twice_is_flagged_and_one_measured_again_at_the_end_is_not() -> None:
    again = texts.plain_csv(declared=False) + "100000,201.5,-3.5\n"
    assert read(again).flags == () and read(again).frequency_hz.size == 17
    lines = texts.plain_csv(declared=False).splitlines()
    inside = "\n".join([*lines[:6], lines[4] + "1", *lines[6:]]) + "\n"
    assert any("stands in line 5 already" in flag for flag in read(inside).flags)


def test_repeats_of_one_frequency_are_a_single_frequency() -> None:
    found = read(
        "frequency_hz,z_real_ohm,z_imag_ohm\n12.5,1000,-20\n12.5,1001,-20\n12.5,1002,-21\n"
    )
    assert found.flags == () and found.frequency_hz.tolist() == [12.5] * 3


def swapped_sign(text: str) -> str:
    return text.replace("z_imag_ohm", "neg_z_imag_ohm")


def test_an_inductive_spectrum_is_refused_and_a_person_may_say_otherwise() -> None:
    text = swapped_sign(texts.plain_csv())
    with pytest.raises(FileNotValid, match="line 4: .*inductive, which no barrier is"):
        read(text)
    found = read_impedance_bytes(text.encode(), "a.csv", imaginary="negated")
    assert np.allclose(found.impedance_ohm, impedance(), rtol=1e-6)
    assert any("other sign" in flag for flag in found.flags)


def test_pstrace_writes_the_negative_under_its_heading_and_the_phase_decides() -> None:
    for heading, said in (("Z''", True), ("-Z''", False)):
        found = read(texts.pstrace(heading=heading).encode("utf-16"))
        assert np.allclose(found.impedance_ohm, impedance(), rtol=1e-5)
        assert any("holds the negative" in note for note in found.notes) == said


def test_a_phase_that_fits_neither_sign_is_refused() -> None:
    text = texts.pstrace().replace("neg. Phase", "Phase")
    with pytest.raises(FileNotValid, match="inductive"):
        read(text)
    rows = texts.pstrace().splitlines()
    cells = rows[12].split(",")
    rows[12] = ",".join([cells[0], "12.0", *cells[2:]])
    with pytest.raises(FileNotValid, match="line 13: phase is not that"):
        read("\n".join(rows) + "\n")


def test_lines_of_pstrace_may_be_wrapped_in_quotes_and_text_may_follow() -> None:
    rows = texts.pstrace().splitlines()
    wrapped = [f'"{row}"' if i % 2 else row for i, row in enumerate(rows)]
    found = read("\n".join([*wrapped, "Measurement:,Cyclic voltammetry", "V,uA", "1,2"]) + "\n")
    assert found.frequency_hz.size == 16 and found.flags == ()
    assert any("text below the table" in note for note in found.notes)


def test_a_few_inductive_points_at_high_frequency_are_no_wrong_sign() -> None:
    lines = texts.plain_csv(declared=False).splitlines()
    for i in (1, 2, 3):
        hz, real, _ = lines[i].split(",")
        lines[i] = f"{hz},{real},{0.2 * float(real)}"
    assert read("\n".join(lines) + "\n").impedance_ohm[0].imag > 0


def edit(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edit("100000,", "x,"), "line 3, column 1: 'x' is not a number"),
        (edit("100000,", "0,"), "line 3, column 1: read '0'; a frequency is a number above 0"),
        (edit("100000,", "-5,"), "a frequency is a number above 0"),
        (edit("100000,", "NaN,"), "a frequency is a number above 0"),
        (edit("100000,", "1e300,"), "larger than any frequency"),
        (edit("frequency_hz,", ""), "no column for a frequency|not a format"),
        (edit("z_imag_ohm", "z_imaginary"), "column 'z_imaginary' is not known"),
        (edit("z_imag_ohm", "z_real_ohm"), "both real of Z"),
        (edit("z_imag_ohm", "time_s"), "no column for real and imaginary part"),
        (edit("100000,", "100000,1,"), "line 3: 4 cells"),
        (edit("100000,", ""), "line 3: 2 cells"),
        (lambda _: "frequency_hz,z_abs_ohm,phase_deg\n10,-5,-3\n", r"column 2: .* below 0"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_its_place(
    change: Callable[[str], str], why: str
) -> None:
    with pytest.raises(FileNotValid, match=why):
        read(change(texts.plain_csv()))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("hello\n", "not a format"),
        ("EXPLAIN\r\nTAG\tCV\r\n", "no table ZCURVE"),
        (texts.gamry() + texts.gamry()[texts.gamry().index("ZCURVE") :], "a second table ZCURVE"),
        (texts.gamry().replace("\tFreq\t", "\tFrq\t"), "line 9: no column for a frequency"),
        (texts.gamry().replace("\tHz\t", "\trpm\t"), "in 'rpm'"),
        ("EC-Lab ASCII FILE\nfoo\n", "line 2: no 'Nb header lines"),
        ("EC-Lab ASCII FILE\nNb header lines : 90\n", "its header alone has 90"),
        (texts.biologic().replace("freq/Hz", "f/Hz"), "line 11: no column for a frequency"),
        (texts.biologic().replace("-Im(Z)/Ohm", "Re(Y)/Ohm-1"), "no column for|phase"),
        (texts.zplot().replace("End Comments\n", ""), "no 'End Comments'"),
        (texts.zplot().replace("Z''(b)", "GD2"), "no column for real and imaginary"),
        (texts.pstrace() + texts.pstrace(), "headings stand again"),
    ],
)
def test_a_file_of_a_program_that_is_wrong_is_refused(text: str, why: str) -> None:
    if "Re(Y)" in text:  # |Z| and phase are enough
        assert read(text).frequency_hz.size == 16
        return
    with pytest.raises(FileNotValid, match=why):
        read(text.encode("latin-1"))


def test_lines_at_rest_between_points_of_ec_lab_are_left_out_and_said() -> None:
    rest = "\t".join(["0.0000000E+000"] * 5 + ["9.0", "1.0", "1.0"]) + "\r\n"
    lines = texts.biologic().splitlines(keepends=True)
    found = read("".join([*lines[:11], rest, *lines[11:]]))
    assert found.frequency_hz.size == 16 and any("1 lines at 0 Hz" in n for n in found.notes)


def test_contradicting_columns_are_refused_with_the_line() -> None:
    text = texts.biologic()
    row = text.splitlines()[14]
    cells = row.split("\t")
    for place, why in ((1, "|Z|"), (3, "|Z|"), (4, "phase")):
        wrong = cells.copy()
        wrong[place] = f"{1.2 * float(cells[place]):.7E}"
        with pytest.raises(FileNotValid, match=f"line 15: {why.replace('|', '[|]')} is not"):
            read(text.replace(row, "\t".join(wrong)))


def test_a_missing_number_is_a_bad_point_and_a_marked_one_too() -> None:
    text = texts.plain_csv().replace("z_imag_ohm", "z_imag_ohm,status").splitlines()
    text = [*text[:2], *(line + ",0" for line in text[2:])]
    text[4] = text[4].rsplit(",", 2)[0] + ",--,0"
    text[5] = text[5][:-1] + "3"
    found = read("\n".join(text) + "\n")
    assert found.status == (0, 0, NO_NUMBER, MARKED_BAD, *[0] * 12)
    assert math.isnan(found.impedance_ohm[2].imag)
    assert "line 5, column 3: '--' (missing)" in found.notes[0]


def test_the_last_line_may_have_no_end_where_its_digits_show_that_it_is_whole() -> None:
    text = texts.biologic().rstrip("\r\n")
    assert read(text).frequency_hz.size == 16
    with pytest.raises(ExportIncomplete, match="line 27 has no end"):
        read(text[:-1])
    with pytest.raises(ExportIncomplete):
        read(texts.plain_csv().rstrip("\n"))


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatNotKnown, match="binary"):
        read(b"\x00\x01\x02")
    with pytest.raises(FileNotValid, match="no such file"):
        read_impedance(tmp_path / "none.dta")
    with pytest.raises(FileNotValid, match="folder"):
        read_impedance(tmp_path)
    large = tmp_path / "large.csv"
    large.write_bytes(b"a" * 4_000_001)
    with pytest.raises(FileNotValid, match="at most"):
        read_impedance(large)


@PLAIN
@given(
    case=st.sampled_from(sorted(SOUND)),
    places=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    junk=st.lists(st.binary(max_size=3), min_size=4, max_size=4),
    drop=st.integers(0, 40),
)
def test_damage_never_raises_anything_but_our_own_kinds(
    case: str, places: list[float], junk: list[bytes], drop: int
) -> None:
    data = SOUND[case][1]
    for place, bytes_ in zip(places, junk, strict=False):
        at = int(place * len(data))
        data = data[:at] + bytes_ + data[at + drop :]
    try:
        found = read(data)
    except FileNotValid:
        return
    assert found.frequency_hz.size == found.impedance_ohm.size == len(found.status) > 0
    assert np.all(found.frequency_hz > 0)


@PLAIN
@given(text=st.text(max_size=200), case=st.sampled_from(sorted(SOUND)))
def test_any_text_behind_the_first_line_is_read_or_refused(text: str, case: str) -> None:
    start = SOUND[case][1][:80]
    try:
        read(start + text.encode("utf-8", "surrogatepass"))
    except FileNotValid:
        return


@PLAIN
@given(
    line=st.integers(0, 15),
    cell=st.integers(0, 2),
    word=st.sampled_from(
        ["", "OVRFLW", "<5", ">1e9", "1,5", "1e999", "abc", "-", "0", "-1", "1e-300"]
    ),
)
def test_any_word_in_a_cell_is_refused_or_a_point_that_is_told(
    line: int, cell: int, word: str
) -> None:
    lines = texts.plain_csv().splitlines()
    cells = lines[line + 2].split(",")
    cells[cell] = word
    lines[line + 2] = ",".join(cells)
    try:
        found = read("\n".join(lines) + "\n")
    except FileNotValid as refused:
        assert "line" in str(refused)
        return
    plain = word in ("0", "-1", "1e-300")
    assert found.status[line] == (0 if plain else NO_NUMBER)
    assert plain or any(f"line {line + 3}" in note for note in found.notes)
