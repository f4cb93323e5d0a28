"""``/v1``: Corral's own form of hosts, plans and operations.

The conductor's answers go out as they are, each under its name.  Start reading at
``operations.py``.
"""
