"""corral-manage: what an administrator does beside the running services; wires, decides nothing."""

import argparse
import sys
from pathlib import Path

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from oslo_config import cfg

from common import config, errors, mac, service
from conductor import keyfile
from conductor.db.session import Database

PROG = "corral-manage"
#: what the next versions bring; asked for now, it answers so
_NOT_YET = ("purge", "broker-acl", "doctor", "upgrade-check")

_EXAMPLES = """examples:
  corral-manage --config-file /etc/corral/corral-conductor.conf db sync
      before the first start, and after each upgrade before the new conductors start
  corral-manage agent-key --init /etc/corral/secrets/agent-keys
      once, before the first conductor; then agent-key HOST for each host
  corral-manage COMMAND --help

exit status: 0 done, 1 db version: the schema is not the newest, 2 refused or wrong usage, 5 the database is away"""

_DATABASE_EXAMPLES = """examples:
  corral-manage db sync       make the tables, or bring them to the newest version; changes nothing when they are there
  corral-manage db version    print the schema's version and the newest one; ends with 1 when they differ"""

_KEY_EXAMPLES = """Conductors with [agents] require_mac believe an agent only what it signs with the key of its
host. The keys are derived from the secrets in the conductors' file ([agents] keys_file), which
all conductors share; an agent has its own key only ([agent] key_file).

examples:
  corral-manage agent-key --init /etc/corral/secrets/agent-keys    make the conductors' file; it is never overwritten
  corral-manage agent-key h1                                       print the key of host h1
  corral-manage agent-key h1 --output agents/h1.key                write it to a file that only its owner may read
  corral-manage agent-key --rotate                                 put a new secret before the old ones

After --rotate: bring the file to all conductors and restart them, give every agent the key that
is made now and restart it, then delete the old lines and restart the conductors again. Until
then the keys from before are good as well."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(
        prog=PROG, description="Administers Corral's database and the agents' keys.", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config-file", action="append", default=[], metavar="FILE",
                         help="the conductors' configuration; may be given several times, the last one wins (default "
                              "/etc/corral/corral-conductor.conf)")
    commands = options.add_subparsers(dest="command", required=True, metavar="COMMAND")
    database = commands.add_parser("db", help="the database's schema", epilog=_DATABASE_EXAMPLES,
                                   description="Looks after the schema of [database] connection.",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    database.add_argument("action", choices=["sync", "version"], help="what to do")
    key = commands.add_parser("agent-key", help="the keys that agents sign their messages with", epilog=_KEY_EXAMPLES,
                              description="Makes the key of a host's agent, and the secrets that keys are made from.",
                              formatter_class=argparse.RawDescriptionHelpFormatter)
    what = key.add_mutually_exclusive_group(required=True)
    what.add_argument("host", nargs="?", metavar="HOST", help="name under which the host is enrolled")
    what.add_argument("--init", type=Path, metavar="FILE", help="make the conductors' file of secrets")
    what.add_argument("--rotate", action="store_true", help="put a new secret first in the conductors' file")
    key.add_argument("--keys-file", type=Path, metavar="FILE",
                     help="the conductors' file of secrets (default: as [agents] keys_file says)")
    key.add_argument("--output", type=Path, metavar="FILE", help="write the key to a file instead of printing it")
    key.add_argument("--force", action="store_true", help="with --output: replace a file that is there")
    for name in _NOT_YET:
        commands.add_parser(name, help="not implemented yet", description="Not implemented yet.")
    return options


def main(argv: list[str] | None = None) -> int:
    """Do what was asked; return the exit status."""
    args = parser().parse_args(argv)
    return service.guarded(PROG, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.command in _NOT_YET:
        raise errors.NotImplementedYet(f"{args.command} is not implemented in this version")
    return _database(args) if args.command == "db" else _agent_key(args)


def _configured(args: argparse.Namespace) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    config.load(conf, PROG, [word for file in args.config_file for word in ("--config-file", file)])
    return conf


def _database(args: argparse.Namespace) -> int:
    database = Database(config.database_url(_configured(args)))
    try:
        if args.action == "sync":
            database.upgrade()
        found, newest = database.version()
    finally:
        database.close()
    print(f"schema {found or 'none'}, newest {newest}")  # noqa: T201
    return 0 if found == newest else 1


def _agent_key(args: argparse.Namespace) -> int:
    if (args.output or args.force) and args.host is None:
        raise errors.Invalid("--output and --force are for the key of a host")
    if args.init is not None:
        keyfile.make(args.init)
        print(f"{args.init} holds a new secret; name it in [agents] keys_file of every conductor")  # noqa: T201
    elif args.rotate:
        path = args.keys_file or _keys_path(args)
        count = keyfile.rotate(path)
        print(f"{path} holds {count} secrets, the new one first; see 'corral-manage agent-key --help' for what "  # noqa: T201
              "comes next")
    else:
        _give(args.host, _keys(args), args.output, args.force)
    return 0


def _give(host: str, keys: mac.Keys, output: Path | None, force: bool) -> None:
    """Print a host's key, or write it to a file."""
    if not host.isprintable() or not 0 < len(host) <= 255 or host.split() != [host]:
        raise errors.Invalid("The name of a host has 1 to 255 characters, none of them a space")
    if output is None:
        if force:
            raise errors.Invalid("--force is for --output")
        print(keys.key_of(host))  # noqa: T201
    else:
        keyfile.write(output, f"{keys.key_of(host)}\n", replace=force)


def _keys(args: argparse.Namespace) -> mac.Keys:
    if args.keys_file is not None:
        return mac.read_keys(keyfile.read(args.keys_file))
    text = config.secret(_configured(args), "agents", "keys_file")
    if text is None:
        raise errors.Invalid("[agents] keys_file is not set: name the conductors' file of secrets there, or by "
                             "--keys-file; 'corral-manage agent-key --init FILE' makes it", code="bad_configuration")
    return mac.read_keys(text)


def _keys_path(args: argparse.Namespace) -> Path:
    name = _configured(args).agents.keys_file
    if not name or "/" not in name:
        raise errors.Invalid(f"[agents] keys_file {'is not set' if not name else 'names a credential of systemd'}: "
                             "say by --keys-file which file to change", code="bad_configuration")
    return Path(name)


if __name__ == "__main__":
    sys.exit(main())
