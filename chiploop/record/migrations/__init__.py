"""Steps from each version of the record's schema to the next, for Alembic.

Belongs here: one file per version, never changed once a record was written with it. Not here: when steps
are taken (schema). A new one: change tables.py, add ``versions/v<NNNN>_<what>.py``, its number in ``VERSIONS``.
"""
