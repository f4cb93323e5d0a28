"""``python -m tools.clients [NAME...]`` builds the environments named, or all; prints where each is."""

import sys

from tools.clients import environments


def main(names: list[str]) -> int:
    """Build; return the exit status."""
    for name in names or environments.names():
        print(name, environments.built(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
