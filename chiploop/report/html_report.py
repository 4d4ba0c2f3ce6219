"""Placeholder until the report is written."""
from pathlib import Path
def write_report(record, journal, study, run_id, folder):
    return Path(folder) / "report.html"
