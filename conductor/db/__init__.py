"""The only place that speaks SQL: models, sessions, one module of functions per noun.

Functions here read and write rows; they decide nothing.  May import ``common``,
``conductor.states`` and ``conductor.plan.model``.  Start reading at ``models.py``.
"""
