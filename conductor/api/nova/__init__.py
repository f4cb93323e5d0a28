"""``/v2.1``: what Nova's clients know, with Nova's bodies, codes and microversions.

One module per resource.  Start reading at ``aggregates.py``.
"""
