"""Bytes to physical quantities and back, and emulators of the same devices.

Import submodules (``from instruments.bench import open_bench``), never bare ``instruments``:
another project owns that import name too.
"""
