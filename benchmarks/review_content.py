"""What the page says of a run, as one JSON file for the peers: they need no record, and draw no figure.

Belongs here: rack, timeline, fit and doses as plain values. Not here: how anybody shows them.

That is a favour: the peers read one small file, and get the figures that we have drawn. What they do not get is
what has no counterpart there: forms that decide, a session, what a mark says when one points at it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chiploop.report.page_parts import parts_folder
from chiploop.review.run_view import run_view
from flows.cli.review import desk_of
from flows.review_hands import ProcessHands


def write_content(runs: Path, run_id: str, path: Path) -> Path:
    """Write the content of a run's pages."""
    desk = desk_of(runs, ProcessHands(runs))
    record = desk.open_record()
    assert record is not None
    run = record.run(run_id)
    latest = record.latest_proposal(run_id)
    assert run is not None and latest is not None
    view = run_view(desk, record, run)
    folder = parts_folder(runs / run_id, view.calibrated)
    parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
    content = {
        "title": view.title,
        "run": run_id,
        "state": view.status.state,
        "verdict": view.verdict,
        "goals": parts["goals"],
        "rack": [
            {"line": c.line, "chip": c.chip, "donor": c.donor, "state": c.state, "gets": c.told,
             "last": "; ".join(c.last)}
            for c in view.chips
        ],
        "spans": [
            {"line": s.line, "kind": s.kind, "begin_h": s.begin_h, "end_h": s.end_h, "told": s.told}
            for s in view.spans
        ],
        "happened": [
            {"when": h.at_utc[:16], "study_h": h.time_h, "what": h.told} for h in view.happenings
        ],
        "parameters": parts["parameters"]["content"],
        "residuals": [
            {key: row[key] for key in ("title", "chip", "donor", "time_h", "residual")}
            for row in parts["residuals"]
        ],
        "history": parts["history"],
        "figures": [str(folder / one["src"]) for one in figures_of(parts)],
        "doses": (record.card(run_id, latest.key) or latest.content).get("lines", []),
        "predicted": (record.card(run_id, latest.key) or {}).get("predicted", [])[:240],
    }  # fmt: skip
    record.close()
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def figures_of(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of the fit page in its order."""
    checks = (parts["review"] or {}).get("content") or {"figures": []}
    return [
        *parts["course_figures"][0],
        *parts["window_figures"][0],
        *(picture for _, picture in checks["figures"]),
        *parts["dose_figures"],
        parts["history_figure"],
    ]
