"""Other projects' programs, each in a virtual environment of its own: what the tests run against Corral.

``environments`` builds them from the pinned lists beside it, ``client`` runs commands in one.
``python -m tools.clients`` builds all of them.  Nothing here knows Corral.
"""
