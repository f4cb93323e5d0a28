"""corral-manage: what an administrator does beside the running services."""

import argparse
import sys

from oslo_config import cfg

from common import config, errors, service
from conductor.db.session import Database

#: what the next versions bring; asked for now, it answers so
_NOT_YET = ("purge", "agent-key", "broker-acl", "doctor", "upgrade-check")


def main(argv: list[str] | None = None) -> int:
    """Do what was asked; return the exit status."""
    parser = argparse.ArgumentParser(prog="corral-manage", description="Administers Corral's database and services.")
    parser.add_argument("--config-file", help="the conductor's configuration file")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    database = commands.add_parser("db", help="the database's schema")
    database.add_argument("action", choices=["sync", "version"], help="sync: bring it to the newest version; "
                                                                      "version: print the found and the newest one")
    for name in _NOT_YET:
        commands.add_parser(name, help="not implemented yet")
    args = parser.parse_args(argv)
    return service.guarded("corral-manage", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.command in _NOT_YET:
        raise errors.NotImplementedYet(f"{args.command} is not implemented in this version")
    conf = cfg.ConfigOpts()
    config.load(conf, "corral-manage", ["--config-file", args.config_file] if args.config_file else [])
    database = Database(conf.database.connection)
    if args.action == "sync":
        database.upgrade()
    found, newest = database.version()
    print(f"schema {found or 'none'}, newest {newest}")  # noqa: T201
    return 0 if found == newest else 1


if __name__ == "__main__":
    sys.exit(main())
