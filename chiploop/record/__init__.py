"""The laboratory record, the action journal and the raw-file store.

Belongs here: what is kept and how a later change to it shows. Not here: who asks for it (flows),
pages (report).
"""
