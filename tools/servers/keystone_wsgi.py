"""Serves Keystone; runs inside Keystone's own environment and imports nothing of ours.

    python keystone_wsgi.py CONFIGURATION PORT
"""

import importlib
import sys

from cheroot import wsgi


def main(configuration: str, port: str) -> None:
    """Serve on loopback until a signal."""
    # Keystone's application reads the command line by itself when it is imported.
    sys.argv = ["keystone-wsgi", "--config-file", configuration]
    keystone = importlib.import_module("keystone.server.flask.core")
    application = keystone.initialize_application(name="public", config_files=[configuration])
    # One thread: with more, SQLite answers "database is locked".
    wsgi.Server(("127.0.0.1", int(port)), application, numthreads=1, request_queue_size=128).safe_start()


if __name__ == "__main__":
    main(*sys.argv[1:])
