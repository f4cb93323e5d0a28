"""The room that does: one agent per host, acting through XenAPI.

It is the only room with XenServer credentials.  It decides nothing: it claims
an order from the conductor, observes, acts, observes again and reports readings.
May import ``common``.  Start reading at ``worker.py`` and ``tasks/``.
"""
