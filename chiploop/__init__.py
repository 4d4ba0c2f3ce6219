"""The science and the records of chiploop: pure functions and frozen data.

Belongs here: study files, readouts, tissue models, inference, proposals, the record.
Not here: Prefect, serial ports, the wall clock. Arrows point down: flows -> instruments -> chiploop.
"""

__version__ = "0.1.0"
