"""corral-api: REST in front of the conductors.

``routes.py`` is the whole API as one table; ``app.py`` turns it into a WSGI
application.  ``nova/`` speaks as Nova's clients expect, ``v1/`` is our own form,
``schemas/`` says which bodies and queries are accepted.  A handler checks, asks the
conductor once, and puts the answer into its form; it decides nothing.  May import
``common``; knows neither the database nor the states.  Start reading at ``routes.py``.
"""
