"""Valves, one file per make. Each is one line in ``instruments/drivers.py``."""
