"""CLARIOstar frames, runs and data against published rows, captured frames and data."""

import math
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instruments.errors import ChecksumError, FrameError, InstrumentError
from instruments.plate_readers import clariostar_wire as wire
from tests.instruments.serial_rows import one_at_a_time, rows

SENT = {
    "status query": wire.STATUS,
    "hw status query": wire.HARDWARE_STATUS,
    "get data final": wire.DATA,
    "get data progressive": wire.DATA_SO_FAR,
    "initialise (PLR payload)": wire.INITIALISE,
    "tray out (PLR payload)": wire.DRAWER_OUT,
    "tray in (PLR payload)": wire.DRAWER_IN,
}

PLATE = "31e82164059e04642c4a1d000c0800" + "ff" * 12 + "00" * 36
POINT = "02" + "00" * 30 + "270f270f"
BLOCK = "00000064232826ca0000006400" + "000000" + "0200000000000100000001"
CAPTURED_RUNS = [
    # (wavelengths, direction, settling, flashes), whole frame as captured: A01, C04, D01, D02, D03
    (((600,), 0x8A, 5, 5), f"0200900c04{PLATE}8a{POINT}05011770{BLOCK}00050001000013780d"),
    (((600,), 0x8A, 1, 1), f"0200900c04{PLATE}8a{POINT}01011770{BLOCK}00010001000013700d"),
    (((450,), 0x0A, 1, 1), f"0200900c04{PLATE}0a{POINT}01011194{BLOCK}000100010000130e0d"),
    (((450, 600), 0x0A, 1, 1), f"0200920c04{PLATE}0a{POINT}010211941770{BLOCK}00010001000013980d"),
    (
        ((450, 600, 660), 0x0A, 1, 1),
        f"0200940c04{PLATE}0a{POINT}01031194177019c8{BLOCK}000100010000147c0d",
    ),
]
ONE_WELL = bytes.fromhex(  # A05: A1 at 600 nm, OD 0.0771 by the vendor's software within 0.001
    "020506260000a9000c000c001dffe2022003000100010100010000000101000000000000"
    "00326c95 0013c73b 0008a5a3 000047d1"
    "003bda66 00008d10 001760d7 00008d3b 000b303e 00008c0a 00004763 00000000"
)
EIGHT_WELLS = bytes.fromhex(  # A03: a dilution series in column 1 at 600 nm
    "020506260000a900280028001dffe2022003000100080100010000000101000000000000"
    "00321a740021b78100176887000b112a0002c8c50000b52400003b5f000017fe"
    "0013acbe00132d3c001378170013891d00136693001377d8001393d100133816"
    "000899e900084714000879bf00086a4200086b7000086fa300086f4400085f74"
    "000047be000047bd000047ae00004794000047780000478e000047a800004798"
    "003bf595000090140017b4c500008f83000b3dc500008daa0000479000000000"
)
EIGHT_OD = [0.079, 0.251, 0.409, 0.734, 1.333, 1.928, 2.413, 2.806]
TWO_WAVELENGTHS = bytes.fromhex(  # D02: the same column at 450 and 600 nm; its header is not whole
    "020500000000a9003200320000000000000000010008000000000000000000000000 0000"
    "000cb0f2000c274b000d12e6000cd8b0000c19a2000c8efb000c4dee000c2f74"
    "0009dd6a0006546b0004a3f200024d8900008db800002dec00000bac00000541"
    "0003e5d60003be890003cbf80003daac0003c1960003ce320003d0b90003ef01"
    "0001aee200019a2e0001a34d0001a96a00019f700001a6940001a4940001b6ec"
    "000047a7000047860000474300004774000047860000 47b2000047b500004775"
    "0010152800002186000be9c4000022c00004a8ea000022640002385d000022b70000472900000000"
)


def data(absorbance, schema=0xA9, temperature=371):
    """Write the data of a 96-well run by hand: (n_wavelengths, 96) OD."""
    n_wavelengths, n_wells = np.shape(absorbance)
    n_values = (n_wavelengths + 3) * (n_wells + 2)
    header = bytearray(36)
    header[0:7] = bytes([2, 0x05, 0x06, 0x26, 0, 0, schema])
    struct.pack_into(">HH", header, 7, n_values, n_values)
    struct.pack_into(">HH", header, 18, 1, n_wells)
    struct.pack_into(">H", header, {0x29: 23}.get(schema, 34), temperature)
    high, reference = 3_932_985, 18_317
    counts = [round(high * 10**-od) for wavelength in absorbance for od in wavelength]
    counts += [1_300_000] * n_wells + [600_000] * n_wells + [reference] * n_wells
    pairs = [(high, 596_217)] * n_wavelengths + [(1_537_345, 594_949), (733_492, 594_217)]
    counts += [count for pair in [*pairs, (reference, 0)] for count in pair]
    return bytes(header) + b"".join(struct.pack(">I", count) for count in counts)


def test_every_published_frame_is_met_in_both_directions_also_byte_by_byte(shared_data):
    for sent, received, meaning in rows(shared_data, "CLARIOstar"):
        frame = sent or received
        assert one_at_a_time(wire.answer_length, frame) == len(frame), meaning
        payload = wire.decode_frame(frame)
        assert wire.encode_frame(payload) == frame
        if sent:
            assert payload == SENT[meaning]
        else:
            assert wire.decode_status(payload) == wire.ReaderStatus(
                busy=True, initialised=True, drawer_open=False, plate_in=True
            )
    assert len(rows(shared_data, "CLARIOstar")) == len(SENT) + 1


@pytest.mark.parametrize(("what", "captured"), CAPTURED_RUNS)
def test_run_is_that_of_the_capture_to_the_last_byte(what, captured):
    wavelengths, direction, settling, flashes = what
    run = wire.encode_run(wavelengths, direction=direction, settling=settling, flashes=flashes)
    assert wire.encode_frame(run).hex() == captured


def test_default_run_is_the_first_capture_and_the_stop_is_captured_too():
    assert wire.encode_frame(wire.encode_run((600,))).hex() == CAPTURED_RUNS[0][1]
    assert wire.encode_frame(wire.STOP).hex(" ") == "02 00 0a 0c 0b 00 00 00 23 0d"


@pytest.mark.parametrize(
    ("payload", "flags"),
    [
        ("010500 20" + "00" * 11 + "c0", (False, True, False, False)),
        ("010500 21" + "00" * 11 + "c0", (False, True, True, False)),
        ("010500 22" + "00" * 11 + "c0", (False, True, False, True)),
        ("012500 20" + "00" * 11 + "c0", (True, True, False, False)),
        ("011500 20" + "00" * 11 + "c0", (True, True, False, False)),
        ("010500 00" + "00" * 11 + "c0", (False, False, False, False)),
    ],
)
def test_captured_statuses_are_read_by_their_flags(payload, flags):
    assert wire.decode_status(bytes.fromhex(payload)) == wire.ReaderStatus(*flags)


def test_captured_data_give_the_od_of_the_vendors_software():
    one = wire.decode_data(ONE_WELL, 1, n_wells=1)
    assert one.absorbance[0, 0] == pytest.approx(0.0771, abs=1e-4)
    assert math.isnan(one.temperature_c) and not one.flags
    eight = wire.decode_data(EIGHT_WELLS, 1, n_wells=8)
    np.testing.assert_allclose(eight.absorbance[0], EIGHT_OD, atol=0.001)
    two = wire.decode_data(TWO_WAVELENGTHS, 2, n_wells=8)
    np.testing.assert_allclose(two.absorbance[0, :4], [0.106, 0.124, 0.091, 0.099], atol=0.001)
    np.testing.assert_allclose(two.absorbance[1, 4:], [1.335, 1.826, 2.421, 2.766], atol=0.001)


def test_subtracting_the_low_counts_can_not_be_right():
    high, low = struct.unpack(">II", EIGHT_WELLS[-32:-24])
    darkest = struct.unpack(">I", EIGHT_WELLS[36 + 28 : 36 + 32])[0]
    assert darkest < low < high


def test_captured_header_tells_progress():
    header = bytes.fromhex(
        "0225042e0000a901880000001dffe2022003000100600100010000000101000000000000"
    )
    assert wire.decode_progress(header) == wire.Progress(written=0, expected=392)
    assert not wire.decode_progress(header).complete
    with pytest.raises(FrameError):
        wire.decode_data(header, 1)


def test_plate_is_read_row_by_row_at_each_wavelength():
    od = np.linspace(-0.02, 3.0, 192).reshape(2, 96)
    measured = wire.decode_data(data(od), 2)
    np.testing.assert_allclose(measured.absorbance, od, atol=2e-3)
    assert measured.absorbance[0, 0] < 0
    assert measured.temperature_c == 37.1
    assert wire.decode_data(data(od, schema=0x29, temperature=254), 2).temperature_c == 25.4
    assert math.isnan(wire.decode_data(data(od, temperature=1), 2).temperature_c)


def test_no_light_and_no_reference_are_typed_flags():
    payload = bytearray(data(np.zeros((1, 96))))
    payload[36 + 4 * 14 : 36 + 4 * 15] = bytes(4)  # sample of B3
    payload[36 + 4 * (3 * 96 + 95) : 36 + 4 * (4 * 96)] = bytes(4)  # reference of H12
    measured = wire.decode_data(bytes(payload), 1)
    assert measured.flags == {(0, 14): "saturated", (0, 95): "no number"}
    assert np.isnan(measured.absorbance[0, [14, 95]]).all()
    assert np.isfinite(np.delete(measured.absorbance, [14, 95])).all()


def changed(payload, at, value):
    return payload[:at] + value + payload[at + len(value) :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p[:-1],
        lambda p: p + b"\x00",
        lambda p: p[:-4],
        lambda p: p[:36],
        lambda p: p[:20],
        lambda p: changed(p, 0, b"\x01"),
        lambda p: changed(p, 6, b"\x21"),
        lambda p: changed(p, 7, b"\x01\x87"),
        lambda p: changed(p, 9, b"\x01\x87"),
        lambda p: changed(p, 18, b"\x00\x02"),
        lambda p: changed(p, 20, b"\x00\x5f"),
        lambda p: changed(p, len(p) - 32, bytes(4)),
        lambda p: changed(p, len(p) - 8, bytes(4)),
    ],
)
def test_data_that_do_not_add_up_are_refused(spoil):
    whole = data(np.zeros((1, 96)))
    wire.decode_data(whole, 1)
    with pytest.raises(FrameError):
        wire.decode_data(spoil(whole), 1)
    with pytest.raises(FrameError):
        wire.decode_data(whole, 2)


def test_any_changed_bit_of_a_frame_is_refused():
    frame = wire.encode_frame(ONE_WELL)
    for place in range(len(frame)):
        for bit in range(8):
            broken = changed(frame, place, bytes([frame[place] ^ (1 << bit)]))
            with pytest.raises(FrameError):
                wire.decode_frame(broken)
    with pytest.raises(ChecksumError):
        wire.decode_frame(changed(frame, 50, b"\xee"))


def test_sum_takes_three_bytes_where_it_is_large():
    payload = b"\xff" * 400
    frame = wire.encode_frame(payload)
    assert frame[-4:-1] == (2 + 1 + 0x98 + 0x0C + 400 * 255).to_bytes(3, "big")
    assert wire.decode_frame(frame) == payload


@given(st.binary(max_size=120), st.integers(0, 9))
@example(b"\x02\x00\x08\x0c\x00\x00\x16\x0d", 1)
@example(b"\x02\x00\x00\x0c", 1)
def test_arbitrary_bytes_raise_nothing_but_instrument_errors(received, n_wavelengths):
    if received:
        length = wire.answer_length(received)
        assert length is None or 0 < length <= len(received)
    for payload in (received or b"\x00", ONE_WELL[:36] + received, b"\x02" + received):
        for decode in (
            lambda p=payload: wire.decode_frame(p),
            lambda p=payload: wire.decode_status(p),
            lambda p=payload: wire.decode_progress(p),
            lambda p=payload: wire.decode_data(p, n_wavelengths, n_wells=1),
        ):
            try:
                decode()
            except InstrumentError:
                pass
