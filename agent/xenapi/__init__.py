"""The driver: XenAPI behind the port of ``agent/driver.py``.

The only place that imports the XenAPI package and that knows references, wire codes
and classes of records.  May import the port and ``common``.  Start reading at
``session.py`` (who is asked, as whom), then ``pool.py`` (what can be asked and done).
"""
