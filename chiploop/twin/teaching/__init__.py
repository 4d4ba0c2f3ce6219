"""Teaching cases: a virtual patient with a hidden truth, tests, treatments, and a score.

Belongs here: rules, cases, what a learner may answer, what it was worth. Not here: the disease, drugs, the twin
(chiploop.twin), terminal and page.

Research use only; not for clinical decisions.
"""
