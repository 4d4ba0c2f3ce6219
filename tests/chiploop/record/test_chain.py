"""Canonical text, links and heads, by hand-made chains."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chiploop.record.chain import (
    GENESIS,
    Head,
    Link,
    RecordBroken,
    RecordUnreadable,
    canonical,
    check_links,
    head_path,
    link_hash,
    read_head,
    refuse_cut_chain,
    write_head,
)


@dataclass(frozen=True)
class Pair:
    second: float
    first: tuple[int, ...]


def chain(*contents: str) -> list[Link]:
    links, previous = [], GENESIS
    for seq, content in enumerate(contents, start=1):
        following = link_hash(previous, content)
        links.append(Link(seq, "t", f"row{seq}", content, previous, following))
        previous = following
    return links


WHOLE = chain("a", "b", "c", "d")
HEAD = Head(4, WHOLE[-1].hash)


def test_the_same_value_has_one_text_whatever_it_is_made_of() -> None:
    assert canonical(Pair(0.1, (1, 2))) == '{"first":[1,2],"second":0.1}'
    assert canonical({"b": np.float64(0.1), "a": np.arange(3)}) == '{"a":[0,1,2],"b":0.1}'
    assert canonical([math.nan, math.inf, -math.inf]) == '["NaN","Infinity","-Infinity"]'
    assert canonical(np.array([True])) == "[true]"


def test_values_go_on_record_while_another_thread_loads_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        sys.modules, "numpy", ModuleType("numpy")
    )  # as it stands at the begin of its loading
    assert canonical({"time_h": 1.5}) == '{"time_h":1.5}'


@pytest.mark.parametrize("value", [{1: 2}, object(), {"a": b"bytes"}])
def test_what_has_no_canonical_text_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="can not go on record"):
        canonical(value)


def test_a_whole_chain_has_no_fault() -> None:
    assert check_links("t", WHOLE, HEAD).whole
    assert check_links("t", [], None).whole


@pytest.mark.parametrize(
    ("spoil", "kind", "row"),
    [
        (lambda k: [k[0], replace(k[1], content="x"), *k[2:]], "edited", "row2"),
        (lambda k: [k[0], *k[2:]], "deleted", "2"),
        (lambda k: [k[0], k[3]], "deleted", "2..3"),
        (lambda k: [k[0], k[1], replace(k[2], previous=GENESIS), k[3]], "out of order", "row3"),
        (lambda k: k[:3], "tail cut", "4..4"),
        (lambda k: [], "tail cut", "1..4"),
        (lambda k: chain("a", "b", "c", "x"), "edited", "4"),
    ],
)
def test_a_spoiled_chain_is_found_and_the_place_named(
    spoil: Callable[[list[Link]], list[Link]], kind: str, row: str
) -> None:
    faults = check_links("t", spoil(list(WHOLE)), HEAD).faults
    assert (kind, row) in [(fault.kind, fault.row) for fault in faults]


def test_a_chain_longer_than_its_head_is_whole_since_the_head_follows_the_commit() -> None:
    assert check_links("t", WHOLE, Head(3, WHOLE[2].hash)).whole


def test_a_missing_head_is_told() -> None:
    assert [fault.kind for fault in check_links("t", WHOLE, None).faults] == ["tail cut"]


def test_a_head_grows_and_never_shrinks(tmp_path: Path) -> None:
    path = head_path(tmp_path / "record.sqlite")
    assert path.name == "record.head"
    assert read_head(path) is None
    write_head(path, Head(2, "b"))
    write_head(path, Head(1, "a"))
    assert read_head(path) == Head(2, "b")
    assert [file.name for file in tmp_path.iterdir()] == ["record.head"]


def test_a_garbled_head_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "record.head"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(RecordUnreadable, match="not a head file"):
        read_head(path)


def test_a_cut_chain_is_not_grown_over(tmp_path: Path) -> None:
    path = tmp_path / "record.head"
    write_head(path, HEAD)
    hashes = {link.seq: link.hash for link in WHOLE}
    refuse_cut_chain(path, 4, hashes.get)
    refuse_cut_chain(tmp_path / "none.head", 4, hashes.get)
    with pytest.raises(RecordBroken, match="knows 4 rows"):
        refuse_cut_chain(path, 3, hashes.get)
    with pytest.raises(RecordBroken):
        refuse_cut_chain(path, 4, {**hashes, 4: "other"}.get)
