"""The ``chiploop`` command: one file per verb, heavy imports only inside the verb that needs them.

Results go to standard output, messages to standard error. With ``--json`` standard output carries
exactly one JSON object, also where the command fails.
"""
