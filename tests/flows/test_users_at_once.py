"""Two users and three processes on one record, in a file and on a server: nothing lost, no lock shown."""

from __future__ import annotations

import json
import time
from pathlib import Path

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.opening import new_run, put_on_record, virtual_settings
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.test_reserving import Ports
from tests.flows.users_at_once import USERS, VARIABLE

TURNS = 4


def test_two_users_and_a_run_work_on_one_record_at_once(
    warm: Warm, record_url: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    files = new_run(load_study(SMALL_STUDY), runs, 1, False, False)
    (files.folder / "clock.json").write_text(json.dumps({"begun_unix_s": time.time()}))
    run = files.run_id
    with Record(record_url) as record:
        put_on_record(record, files)
    Journal(files.journal).close()
    ports = {name: {"pty": f"/dev/test-{name}", "tcp": ""} for name in ("pumps", "reader", "teer")}
    text = virtual_settings(files.study, Ports(ports), tmp_path)  # type: ignore[arg-type]
    (files.folder / "lab.toml").write_text(text, encoding="utf-8")
    ended = warm.run(record_url, runs, run, str(TURNS), **{VARIABLE: "1"})
    assert ended.code == 0, ended.err
    told = {who: json.loads((runs / f"{who}.json").read_text()) for who in USERS}
    commands = [one for who in USERS for one in told[who]]
    for n, verb, code, said, _ in commands:
        assert code in (0, 2), (n, verb, said)
        assert not any(
            word in said.lower() for word in ("lock", "sqlite", "psycopg", "cl-4", "cl-1")
        )

    with Record(record_url) as record:
        # one decision per proposal; whoever came second is told so, or that nothing is open
        decisions = record.decisions(run)
        assert len(decisions) == TURNS
        for n, decided in enumerate(decisions, start=1):
            both = {who: code for who in USERS for m, verb, code, *_ in told[who]
                    if m == n and verb in ("approve", "reject")}  # fmt: skip
            assert both[decided.by] == 0 and sorted(both.values()) == [0, 2], (decided, both)
        # every exclusion that was confirmed is on record, in the name of who typed it
        excluded = [(code, said) for _, verb, code, said, _ in commands if verb == "exclude"]
        assert excluded == [(0, "")] * 2 * TURNS
        kept = [(one.by, one.why) for one in record.exclusions(run)]
        assert sorted(kept) == sorted((who, f"air {n + 1}") for who in USERS for n in range(TURNS))
        # each turn has one hold and one end of it, whoever was first; the other hears that it is so already
        holds = [event.content["on"] for event in record.events(run, "hold")]
        assert holds == [True, False] * TURNS
        new = [out["new"] for _, verb, code, _, out in commands if verb == "hold"]
        assert sorted(new) == [False] * TURNS + [True] * TURNS
        # every word about a task is kept
        words = [event.content for event in record.events(run, "hand")]
        skips = [(code, said) for _, verb, code, said, _ in commands if verb == "skip"]
        assert skips == [(0, "")] * 2 * TURNS
        assert sorted((w["by"], w["why"]) for w in words) == sorted(
            (who, f"turn {n + 1}") for who in USERS for n in range(TURNS)
        )
        assert len(record.readouts(run)) == 2 * TURNS
        assert record.verify().faults == ()
