"""The room that decides and remembers: the only one with database credentials.

``manager.py`` turns each message into one call; ``aggregates.py`` and ``hosts.py``
hold the rules of the nouns, ``operations/`` what is being done and what comes
next, ``plan/`` the pure decisions.  May import ``common``.
"""
