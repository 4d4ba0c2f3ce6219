"""Impedance meters, one file per make. Each is one line in ``instruments/bench.py``."""
