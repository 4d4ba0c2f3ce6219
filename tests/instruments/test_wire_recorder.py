"""The wire record: one line a piece, in pieces that know what went before, read back in order."""

import errno
import json
import os
import threading

import pytest

from instruments.wire_recorder import WireRecorder, read_wire, wire_pieces


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wire" / "L1.pumps.jsonl"


def filled(path, count, **options):
    recorder = WireRecorder(path, **options)
    for number in range(count):
        recorder.bytes("COM3", "sent", bytes([number]))
    recorder.close()
    return recorder


def sent(path):
    return [bytes.fromhex(e["hex"])[0] for e in read_wire(path) if e["direction"] == "sent"]


def test_every_byte_value_comes_back_as_it_was(path):
    recorder = WireRecorder(path)
    recorder.bytes("COM3", "received", bytes(range(256)))
    recorder.note("COM3", "µ-unit\nlost")
    recorder.close()
    begins, received, note = read_wire(path)
    assert begins["before"] is None
    assert bytes.fromhex(received["hex"]) == bytes(range(256))
    assert {"n", "monotonic_s", "wall", "port", "direction"} <= set(received)
    assert note["text"] == "µ-unit\nlost"


def test_record_goes_on_in_pieces_that_name_the_one_before(path):
    filled(path, 20, rotate_bytes=500)
    pieces = wire_pieces(path)
    assert [piece.name for piece in pieces][:3] == [
        "L1.pumps.jsonl",
        "L1.pumps.0001.jsonl",
        "L1.pumps.0002.jsonl",
    ]
    first_lines = [json.loads(piece.read_bytes().splitlines()[0]) for piece in pieces]
    names = [None, *(piece.name for piece in pieces[:-1])]
    assert [line["before"] for line in first_lines] == names
    assert sent(path) == list(range(20))
    assert all(piece.stat().st_size < 800 for piece in pieces)


def test_record_taken_up_again_goes_on_in_its_newest_piece(path):
    filled(path, 8, rotate_bytes=500)
    before = wire_pieces(path)
    filled(path, 8, rotate_bytes=500)
    assert sent(path) == [*range(8), *range(8)]
    assert wire_pieces(path)[: len(before)] == before


def test_nothing_is_deleted_unless_somebody_says_how_many_pieces_to_keep(path):
    filled(path, 60, rotate_bytes=500)
    every = wire_pieces(path)
    assert len(every) > 10
    filled(path, 20, rotate_bytes=500, keep=3)
    assert len(wire_pieces(path)) == 3
    assert sent(path)[-3:] == [17, 18, 19]


def test_line_torn_by_a_power_cut_is_told_and_spoils_no_other(path):
    filled(path, 1)
    with path.open("ab") as file:
        file.write(b'{"n": 3, "hex": "0')
    filled(path, 1)
    kinds = [(entry["direction"], entry.get("text", "")) for entry in read_wire(path)]
    assert ("note", 'torn line: {"n": 3, "hex": "0') in kinds
    assert sent(path) == [0, 0]


def test_where_no_new_piece_can_be_made_the_old_one_grows(path):
    recorder = WireRecorder(path, rotate_bytes=200)
    path.with_name("L1.pumps.0001.jsonl").mkdir()
    for number in range(5):
        recorder.bytes("COM3", "sent", bytes([number]))
    recorder.close()
    path.with_name("L1.pumps.0001.jsonl").rmdir()
    assert recorder.trouble == ""
    assert sent(path) == list(range(5))


def test_record_that_can_not_be_written_says_why(path):
    recorder = WireRecorder(path)
    recorder.close()
    recorder.bytes("COM3", "sent", b"1")
    assert "closed" in recorder.trouble


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")
def test_full_disk_says_so(path):
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    recorder = WireRecorder(path)
    recorder.close()
    assert "No space" in recorder.trouble


def test_once_there_is_room_again_the_record_goes_on_and_says_that_lines_are_missing(path):
    recorder = WireRecorder(path)
    recorder.bytes("COM3", "sent", b"1")
    file, left = recorder._file, [5]

    class Full:
        """A file of which only so much still goes in."""

        def write(self, line):
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            done, left[0] = line[: left[0]], 0
            return file.write(done)

    recorder._file = Full()
    for byte in (b"2", b"3"):
        recorder.bytes("COM3", "sent", byte)
        assert recorder.is_full and recorder.trouble
    recorder._file = file
    recorder.bytes("COM3", "sent", b"4")
    assert (recorder.is_full, recorder.trouble) == (False, "")
    recorder.close()
    entries = list(read_wire(path))
    assert [entry["hex"] for entry in entries if "hex" in entry] == ["31", "34"]
    assert "are missing" in entries[-2]["text"] and "torn line" in entries[-3]["text"]


def test_trouble_that_is_not_of_a_full_disk_stays(path):
    recorder = WireRecorder(path)
    file = recorder._file

    class Broken:
        def write(self, line):
            raise OSError(errno.EIO, "Input/output error")

    recorder._file = Broken()
    recorder.bytes("COM3", "sent", b"1")
    recorder._file = file
    recorder.bytes("COM3", "sent", b"2")
    recorder.close()
    assert "Input/output" in recorder.trouble and not recorder.is_full


def test_two_writers_of_one_record_do_not_mix_their_lines(path):
    recorders = [WireRecorder(path), WireRecorder(path)]

    def write(recorder):
        for _ in range(200):
            recorder.bytes("COM3", "received", bytes(20_000))

    threads = [threading.Thread(target=write, args=(recorder,)) for recorder in recorders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for recorder in recorders:
        recorder.close()
    lines = [e for e in read_wire(path) if e["direction"] == "received"]
    assert len(lines) == 400 and all(len(line["hex"]) == 40_000 for line in lines)


def test_size_and_number_of_pieces_must_make_sense(path):
    for options in ({"rotate_bytes": 0}, {"keep": 0}):
        with pytest.raises(ValueError, match="1 or more"):
            WireRecorder(path, **options)
