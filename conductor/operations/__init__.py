"""What is being done and what comes next.

``engine.py`` is the only writer of states, ``advance.py`` derives the next step from
the rows, ``membership.py`` and ``maintenance.py`` are its pure deciders, ``orders.py``
serves the agents, ``accept.py`` takes requests, ``sweeper.py`` and ``drift.py`` are the
clock's side.  May import ``conductor.states``, ``plan``, ``db`` and ``common``.
Start reading at ``view.py`` and ``engine.py``.
"""
