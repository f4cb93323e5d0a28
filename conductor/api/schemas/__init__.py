"""What bodies and queries must look like, as JSON Schema (Draft 2020-12).

``fields.py`` holds the parts, ``nova.py`` and ``v1.py`` one schema per request,
``check.py`` judges.  Imports nothing but ``common.errors``.
"""
