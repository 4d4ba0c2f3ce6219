"""The store of patients: values encrypted for each patient, the keys apart, and an audit that knows neither.

Belongs here: sealing, keys, the audit chain, adding, changing, giving away and deleting. Not here: what a
patient's file may hold and what was agreed (chiploop.twin), asking for passphrases and printing (flows.cli).

A deletion destroys the patient's key and values; the audit keeps a random id, what was done, who and when, and
nothing that was made from the patient. Research use only; not for clinical decisions.
"""
