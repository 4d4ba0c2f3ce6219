"""The review page of a 24-chip and of a 300-chip campaign: first reply, weight, memory; beside Streamlit and Dash.

``python -m benchmarks.review [--runs DIR] [--peers PEERS/bin/python] [--starts N] [--json]``

Every page is asked once of a server that has just said that it can be asked, in a fresh process each time: the
first reply. Then again, for the median of ``WARM`` further ones. Weight is of the page with all that it names, a
browser's cache empty. Memory is the server's after its page was asked and looked at. With ``--peers`` the same
content stands in Streamlit and in Dash (review_peers), and one browser looks at all three.

Campaigns are kept in ``--runs`` and not made again; to simulate that of 24 chips takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.review_browser import chromium, look
from benchmarks.review_campaigns import simulated, write_residuals, written
from benchmarks.review_content import write_content
from benchmarks.review_peers import PATHS, PEERS, peer_server, versions
from benchmarks.review_server import PROJECT, START, Visitor, review_server, weight_of

FIRST_S, MOST_BYTES, MOST_MB, USABLE_S = 0.1, 500_000, 90.0, 1.0
"""First reply, page and report, memory; a reply about very many chips."""
WARM = 15
PAGES = {
    "campaigns": "/",
    "overview": "/runs/{run}",
    "fit": "/runs/{run}/fit",
    "proposal": "/runs/{run}/proposal",
    "chip": "/runs/{run}/chips/{chip}",
}


def drawn(runs: Path, run: str) -> float:
    """Draw what the fit page shows, where it is not there; return the seconds that it takes."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "flows.review_jobs", "parts", run, str(runs)],
        check=True,
        cwd=PROJECT,
    )
    return time.perf_counter() - begun


def report_of(runs: Path, run: str) -> dict[str, Any]:
    """Return seconds and bytes of the one-file report."""
    begun = time.perf_counter()
    subprocess.run(
        [*START, "report", run, "--runs", str(runs)],
        check=True,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
    )
    took = time.perf_counter() - begun
    return {"seconds": took, "bytes": (runs / run / "report.html").stat().st_size}


def page_of(runs: Path, path: str, starts: int) -> dict[str, Any]:
    """Return the numbers of one page."""
    begun, first, warm, memory = [], [], [], []
    weight = None
    for _ in range(starts):
        with review_server(runs) as served:
            visitor = Visitor(served.link)
            visitor.enter()
            reply = visitor.ask(path)
            assert reply.status == 200, f"{path} answered {reply.status}"
            first.append(reply.seconds)
            warm += [visitor.ask(path).seconds for _ in range(WARM)]
            weight = weight_of(visitor, path)
            visitor.close()
            begun.append(served.start_s)
            memory.append(served.own_rss_mb)
    assert weight is not None
    return {
        "start_s": statistics.median(begun),
        "first_s": statistics.median(first),
        "slowest_first_s": max(first),
        "warm_s": statistics.median(warm),
        "rss_mb": max(memory),
        **asdict(weight),
        "whole": weight.whole,
    }


def campaign_of(runs: Path, run: str, chip: str, is_written: bool, starts: int) -> dict[str, Any]:
    """Return the numbers of a campaign's pages and report."""
    seconds = drawn(runs, run)
    if is_written:
        write_residuals(runs, run, 1)
    pages = {
        name: page_of(runs, path.format(run=run, chip=chip), starts) for name, path in PAGES.items()
    }
    return {"run": run, "drawn_s": seconds, "pages": pages, "report": report_of(runs, run)}


def side_by_side(runs: Path, run: str, python: Path, folder: Path) -> dict[str, Any]:
    """Return what one browser saw of the same content, ours and the peers'."""
    content = write_content(runs, run, folder / "content.json")
    found: dict[str, Any] = {"versions": versions(python)}
    with chromium() as browser:
        if browser is None:
            return {**found, "absent": "Chromium or Playwright"}
        ours: dict[str, Any] = {}
        for name in PATHS["dash"]:
            with review_server(runs) as served:
                root = served.link.partition("/enter")[0]
                seen = look(browser, root + PAGES[name].format(run=run), served.link)
                ours[name] = {**asdict(seen), "rss_mb": served.rss_mb, "start_s": served.start_s}
        found["chiploop"] = ours
        for peer in PEERS:
            if peer not in found["versions"]:
                continue
            found[peer] = {}
            for name, path in PATHS[peer].items():
                with peer_server(peer, python, content) as served:
                    seen = look(browser, served.link + path)
                    row = {"rss_mb": served.rss_mb, "start_s": served.start_s}
                    found[peer][name] = {**asdict(seen), **row}
    return found


def told(found: dict[str, Any]) -> None:
    """Print the numbers, each beside its bar."""
    for chips, bar_s in (("24", FIRST_S), ("300", USABLE_S)):
        one = found[chips]
        print(f"\n{chips} chips, 6 cycles. Figures are drawn once, in {one['drawn_s']:.0f} s.")
        print(
            f"{'page':10} first ms (slowest)  warm ms   html kB  shared  pictures   all kB  server MB"
        )
        for name, row in one["pages"].items():
            small = row["whole"] < MOST_BYTES
            print(
                f"{name:10} {1e3 * row['first_s']:8.0f} ({1e3 * row['slowest_first_s']:.0f})"
                f" {'yes' if row['first_s'] < bar_s else 'NO':>4} {1e3 * row['warm_s']:8.0f}"
                f" {row['page'] / 1e3:9.0f} {row['style'] / 1e3:7.0f} {row['pictures'] / 1e3:9.0f}"
                f" {row['whole'] / 1e3:8.0f} {'yes' if small else 'NO'}"
                f" {row['rss_mb']:8.1f} {'yes' if row['rss_mb'] < MOST_MB else 'NO'}"
            )
        report = one["report"]
        is_small = "yes" if report["bytes"] < MOST_BYTES else "NO"
        print(f"report {report['bytes'] / 1e3:.0f} kB {is_small}, in {report['seconds']:.1f} s")
    if "peers" not in found:
        print("\nStreamlit and Dash: name the python that has them with --peers")
        return
    peers = found["peers"]
    print(f"\nThe same content in one browser, {peers['versions']}; in brackets: times ours")
    for name in PATHS["dash"]:
        ours = peers["chiploop"][name]
        for who in ("chiploop", *(peer for peer in PEERS if peer in peers)):
            row = peers[who][name]
            print(
                f"{name:10} {who:10} start {row['start_s']:5.2f} s, shown {row['seconds']:5.2f} s"
                f" ({row['seconds'] / ours['seconds']:.1f}), {row['all_bytes'] / 1e6:6.2f} MB"
                f" ({row['all_bytes'] / ours['all_bytes']:.1f}) in {row['requests']} requests,"
                f" {row['outside']} outside, server {row['rss_mb']:.0f} MB"
                f" ({row['rss_mb'] / ours['rss_mb']:.1f})"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark_review"))
    parser.add_argument(
        "--peers", type=Path, help="python of an environment with streamlit and dash"
    )
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    small, large = asked.runs.absolute() / "24_chips", asked.runs.absolute() / "300_chips"
    runs = {"24": (small, simulated(small, 24, 6, asked.seed), "C10", False)}
    runs["300"] = (large, written(large, 300, 6, asked.seed), "C010", True)
    found: dict[str, Any] = {
        chips: campaign_of(*where, asked.starts) for chips, where in runs.items()
    }
    if asked.peers is not None:
        with tempfile.TemporaryDirectory() as folder:
            found["peers"] = side_by_side(*runs["24"][:2], asked.peers.absolute(), Path(folder))
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        told(found)


if __name__ == "__main__":
    main()
