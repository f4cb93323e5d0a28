"""All options, a group per room, and which kind of process reads which; nothing here is global.

A file is checked whole before it is used: what no process of its kind reads is a mistake,
not a comment.  Secrets never stand in an option of ours: they are read from the file that
an option names.  It knows no part that the options are for.
"""

import copy
import difflib
import functools
import importlib
import importlib.metadata
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from oslo_config import cfg, types

from common import errors, shipped
from common.api_options import API

LOG = logging.getLogger(__name__)

DEFAULT = (
    cfg.FloatOpt("graceful_stop_s", default=30.0, min=0.0, max=3600.0, mutable=True,
                 help="Seconds that a process may take to end after SIGTERM; then it ends anyway. At 0 it waits for "
                      "nothing. What was under way is found again, so nothing is lost either way."),
)

BROKER = (
    cfg.StrOpt("password_file",
               help="File with the password of the broker's user, for a transport_url that has none. A name without "
                    "a slash is a systemd credential (LoadCredential=)."),
)

DATABASE = (
    cfg.StrOpt("connection", secret=True, default="sqlite:////var/lib/corral/corral.sqlite",
               help="SQLAlchemy URL of the conductors' database, driver written out: postgresql+psycopg://, "
                    "mysql+pymysql:// or sqlite:///. The password better stands in password_file."),
    cfg.StrOpt("password_file",
               help="File with the password of the database's user, for a connection that names a user only. A name "
                    "without a slash is a systemd credential (LoadCredential=)."),
)

CONDUCTOR = (
    cfg.HostAddressOpt("name", help="Name under which this conductor listens; by default the machine's name. It has "
                                    "to differ between conductors: several on one machine each need their own."),
    cfg.IntOpt("workers", default=16, min=1, max=256, help="How many messages are handled at once."),
)

AGENTS = (
    cfg.BoolOpt("require_mac", default=True,
                help="Whether agents' messages need a MAC made with the agent's key. Without it, whoever may write "
                     "to the queue corral.agents can speak for any host."),
    cfg.StrOpt("keys_file",
               help="File with the conductors' master keys, made by: corral-manage agent-key --init FILE. A name "
                    "without a slash is a systemd credential (LoadCredential=)."),
    cfg.FloatOpt("sync_interval_s", default=10.0, min=0.2, max=300.0, mutable=True,
                 help="Seconds between two heartbeats of an agent, which are told it by the conductor."),
    cfg.FloatOpt("down_after_s", default=35.0, min=0.5, max=3600.0, mutable=True,
                 help="Seconds without a heartbeat after which an agent counts as down."),
    cfg.FloatOpt("silence_s", default=30.0, min=0.5, max=3600.0, mutable=True,
                 help="Seconds without news after which a claimed task becomes unknown. It is never taken for failed."),
    cfg.ListOpt("resend_s", item_type=types.Float(min=0.1), default=[2.0, 5.0, 10.0, 30.0], mutable=True,
                help="Seconds after which an unclaimed task is sent again, for the first, second, ... time; the last "
                     "one repeats."),
)

OPERATIONS = (
    cfg.FloatOpt("join_limit_s", default=600.0, min=1.0, mutable=True, help="Seconds that a pool join may take."),
    cfg.FloatOpt("eject_limit_s", default=1800.0, min=1.0, mutable=True, help="Seconds that an eject may take."),
    cfg.FloatOpt("migration_limit_s", default=240.0, min=1.0, mutable=True,
                 help="Seconds that a migration may take at least; three times its estimate, if that is more."),
    cfg.FloatOpt("short_limit_s", default=120.0, min=1.0, mutable=True,
                 help="Seconds that any other task may take: disable, enable, observe, start a VM."),
    cfg.FloatOpt("begin_limit_s", default=600.0, min=1.0, mutable=True,
                 help="Seconds that an accepted join waits for hosts that can't be read yet; then it fails."),
    cfg.IntOpt("move_attempts", default=3, min=1, max=100, mutable=True,
               help="How often a task without effect is tried before it counts as failed."),
    cfg.IntOpt("replans", default=5, min=0, max=1000, mutable=True,
               help="How often one operation is planned again because moves failed, before a person has to look; "
                    "at 0 the first failure asks for one."),
    cfg.FloatOpt("retry_pause_s", default=2.0, min=0.0, max=600.0, mutable=True,
                 help="Seconds before a task without effect is tried again; at 0 at once."),
    cfg.FloatOpt("refused_replan_s", default=30.0, min=1.0, max=3600.0, mutable=True,
                 help="Seconds before it is planned again when nothing fitted."),
    cfg.FloatOpt("observe_apart_s", default=2.0, min=0.0, max=60.0, mutable=True,
                 help="Seconds between the two observations that both must find a host empty. Below 2 a VM that is "
                      "just being started on it may be overlooked."),
    cfg.FloatOpt("slow_at_least_s", default=60.0, min=0.0, mutable=True,
                 help="Seconds by which an operation must be late, beside having doubled its estimate, before a "
                      "person is asked to look."),
    cfg.IntOpt("reenabled_times", default=3, min=0, max=1000, mutable=True,
               help="How often a host that somebody enables behind our back is disabled again within "
                    "reenabled_within_s, before a person has to look; at 0 the first time asks for one."),
    cfg.FloatOpt("reenabled_within_s", default=600.0, min=1.0, mutable=True,
                 help="Seconds within which reenabled_times counts."),
)

PLANNER = (
    cfg.IntOpt("moves_per_source", default=3, min=1, mutable=True, help="Moves that may leave one host at once."),
    cfg.IntOpt("moves_per_destination", default=2, min=1, mutable=True,
               help="Moves that may arrive at one host at once."),
    cfg.IntOpt("moves_per_pool", default=8, min=1, mutable=True, help="Moves that may go on in one pool at once."),
    cfg.FloatOpt("bandwidth_bytes_s", default=110e6, min=1e3, mutable=True,
                 help="Bytes per second that one migration gets on the migration network, for estimates."),
)

AGGREGATES = (
    cfg.BoolOpt("pool_backed_by_default", default=True, mutable=True,
                help="Whether an aggregate is backed by a resource pool unless its metadata hypervisor_pool says "
                     "otherwise."),
)

AGENT = (
    cfg.StrOpt("host", help="Name under which the host is enrolled; --host on the command line goes before it."),
    cfg.StrOpt("key_file",
               help="File with this agent's key, made by: corral-manage agent-key HOST. A name without a slash is a "
                    "systemd credential (LoadCredential=). Without it messages carry no MAC, which conductors refuse "
                    "unless their require_mac is off."),
    cfg.IntOpt("workers", default=8, min=1, max=64, help="How many orders are carried out at once."),
)

XENAPI = (
    cfg.URIOpt("url", schemes=["http", "https"], help="The host's xapi, e.g. https://192.0.2.10."),
    cfg.StrOpt("username", default="root", help="User of the host's xapi."),
    cfg.StrOpt("password_file",
               help="File with its password. A name without a slash is a systemd credential (LoadCredential=)."),
    cfg.StrOpt("pool_username", help="User of the pool's master; by default as for the host."),
    cfg.StrOpt("pool_password_file", help="File with its password; by default as for the host."),
    cfg.StrOpt("ca_file", help="File with the authorities that certificates are verified against; by default the "
                               "system's."),
    cfg.ListOpt("pins", default=[],
                help="SHA-256 fingerprints of the hosts' certificates, as xapi's Certificate records show them. If "
                     "there are any, the host and its pool's master have to present one of them, whoever issued it "
                     "(with ca_file, that too). Several: for all members of a pool, and to change a certificate."),
    cfg.BoolOpt("verify", default=True, help="Whether certificates are verified. Turn it off in a laboratory only."),
    cfg.FloatOpt("connect_timeout_s", default=5.0, min=0.1, max=300.0, help="Seconds to connect within."),
    cfg.FloatOpt("read_timeout_s", default=60.0, min=1.0, max=3600.0, help="Seconds to wait for an answer."),
    cfg.FloatOpt("login_hold_s", default=10.0, min=0.0, max=3600.0,
                 help="Seconds without another try after a refused login, so as not to lock the account."),
)

GROUPS: dict[str, tuple[Any, ...]] = {
    "DEFAULT": DEFAULT, "broker": BROKER, "database": DATABASE, "conductor": CONDUCTOR, "agents": AGENTS,
    "operations": OPERATIONS, "planner": PLANNER, "aggregates": AGGREGATES, "api": API, "agent": AGENT,
    "xenapi": XENAPI}

#: what each kind of process reads
KINDS: dict[str, tuple[str, ...]] = {
    "conductor": ("DEFAULT", "broker", "database", "conductor", "agents", "operations", "planner", "aggregates"),
    "agent": ("DEFAULT", "broker", "agent", "xenapi"),
    "api": ("DEFAULT", "broker", "api")}

#: the libraries whose options every kind reads
_LIBRARIES = ("oslo.log", "oslo.messaging", "oslo.concurrency")
#: and those that one kind reads
_LIBRARIES_OF = {"api": ("keystonemiddleware.auth_token", "oslo.policy")}
#: options that oslo.messaging reads and does not list
_UNLISTED = {"oslo_messaging_metrics": "oslo_messaging._metrics.client",
             "oslo_messaging_tracing": "oslo_messaging._tracing.client"}
#: Kafka carries no calls
_NOT_OURS = ("oslo_messaging_kafka",)

_LINE = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s %(message)s%(facts)s"
#: our defaults for libraries' options in [DEFAULT]; ``facts`` is made by common/service
LOG_DEFAULTS: dict[str, Any] = {
    "use_stderr": True, "logging_default_format_string": _LINE, "logging_context_format_string": _LINE,
    "logging_exception_prefix": "%(asctime)s.%(msecs)03d %(process)d ERROR %(name)s"}
#: what the sample files show: our defaults, and names that are no machine's
_SHOWN: dict[str, Any] = {
    **LOG_DEFAULTS, **shipped.DEFAULTS, "use_queue_manager": True, "control_exchange": "corral",
    "topics": "corral_notifications",
    "processname": "<kind and name of the process>", "hostname": "<name of the machine>",
    "lock_path": "<the unit's runtime directory>"}


def register(conf: Any, kind: str = "conductor") -> None:
    """Register what a process of ``kind`` reads on ``conf``; a second time changes nothing."""
    for group in KINDS[kind]:
        conf.register_opts(GROUPS[group], group=None if group == "DEFAULT" else group)


def load(conf: Any, prog: str, argv: list[str] | None, kind: str = "conductor") -> None:
    """Read ``--config-file`` and the like from ``argv``, and those files, into ``conf``.

    Without one it is /etc/corral/corral-<kind>.conf, if that is there.  Raises Invalid
    with everything that is wrong.
    """
    check(prog, argv, kind)
    register(conf, kind)
    _read(conf, prog, argv, kind)


def check(prog: str, argv: list[str] | None, kind: str) -> None:
    """Raise Invalid unless the files that ``argv`` names can be used as they stand now; changes nothing."""
    scratch = cfg.ConfigOpts()
    register(scratch, kind)
    for group, options in library_options(kind):
        scratch.register_opts(options, group=None if group == "DEFAULT" else group)
    _read(scratch, prog, argv, kind)
    found = [*_unknown(scratch, kind), *_unusable(scratch, kind)]
    if found:
        raise errors.Invalid("; ".join(found), code="bad_configuration")


def _read(conf: Any, prog: str, argv: list[str] | None, kind: str) -> None:
    usual = Path(f"/etc/corral/corral-{kind}.conf")
    try:
        conf(argv, project="corral", prog=prog, default_config_files=[str(usual)] if usual.exists() else [],
             default_config_dirs=[])
    except cfg.ConfigFileParseError as exc:
        # Its own words show the line, which may hold a password.
        where = re.search(r"at (\S+:\d+), (.+?): ['\"]", str(exc))
        raise errors.Invalid(f"{where[1]}: {where[2]}" if where else f"{exc.config_file} can't be read",
                             code="bad_configuration") from None
    except cfg.ConfigFilesPermissionDeniedError as exc:
        raise errors.Invalid(f"No permission to read {', '.join(exc.config_files)}", code="bad_configuration") from exc
    except cfg.ConfigFilesNotFoundError as exc:
        raise errors.Invalid(f"There is no file {', '.join(exc.config_files)}", code="bad_configuration") from exc
    except cfg.Error as exc:
        raise errors.Invalid(str(exc), code="bad_configuration") from exc
    except UnicodeDecodeError as exc:
        # It does not say which file of several; its own words show what stands there.
        raise errors.Invalid(f"{', '.join(_named(argv) or [str(usual)])}: byte {exc.start + 1} is no UTF-8 text",
                             code="bad_configuration") from None


def _named(argv: list[str] | None) -> list[str]:
    return [word for before, word in pairwise(argv or ()) if before == "--config-file"]


def _unknown(conf: Any, kind: str) -> Iterator[str]:
    """Yield a sentence for each section and option in the files that nobody reads."""
    known = {group: _names(options) for group, options in _all_options(kind).items()}
    folders = [Path(folder) for folder in (conf.config_dir or ())]
    for path in [*map(Path, conf.config_file or ()), *(one for top in folders for one in sorted(top.glob("*.conf")))]:
        sections: dict[str, dict[str, Any]] = {}
        cfg.ConfigParser(str(path), sections).parse()
        for section, values in sections.items():
            if section not in known:
                readers = [other for other, groups in KINDS.items() if section in groups]
                yield f"{path}: " + (f"[{section}] is for corral-{readers[0]}, not for corral-{kind}" if readers
                                     else f"there is no section [{section}]{_meant(section, known)}")
                continue
            for name in values:
                if name.replace("-", "_") not in known[section]:
                    yield f"{path}: [{section}] has no option {name}{_meant(name, known[section])}"


def _all_options(kind: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {group: list(GROUPS[group]) for group in KINDS[kind]}
    for group, options in library_options(kind):
        found.setdefault(group, []).extend(options)
    return found


def _names(options: list[Any]) -> set[str]:
    old = {one.name for option in options for one in option.deprecated_opts if one.name}
    return {option.dest for option in options} | {name.replace("-", "_") for name in old}


def _meant(name: str, known: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; {near[0]} is meant?" if near else ""


def _unusable(conf: Any, kind: str) -> Iterator[str]:
    """Yield a sentence for each value that is of the wrong kind or contradicts another."""
    usable = True
    for group, options in _all_options(kind).items():
        for option in options:
            try:
                value_of(conf, group, option.dest)
            except (cfg.Error, ValueError) as exc:
                usable = False
                yield f"[{group}] {option.dest} has no usable value{_reason(option, exc)}"
    if usable and kind == "conductor" and conf.agents.down_after_s <= conf.agents.sync_interval_s:
        yield "[agents] down_after_s has to be longer than sync_interval_s"


def _reason(option: Any, exc: Exception) -> str:
    """Return why a value can't be used, as the end of a sentence; nothing about a secret one."""
    if isinstance(exc, cfg.NoSuchOptError):
        return ": a $ in it is written $$"
    if isinstance(option, cfg.URIOpt):
        return ": a whole address is wanted, like https://192.0.2.10"
    return "" if option.secret else f": {str(exc).rpartition('is not valid: ')[2]}"


def value_of(conf: Any, group: str, option: str) -> Any:
    """Return an option's value; the group DEFAULT has those without a group."""
    return conf[option] if group == "DEFAULT" else conf[group][option]


def require(conf: Any, options: Iterable[str], secrets: Iterable[str] = ()) -> dict[str, str | None]:
    """Return the texts of the secret files by option; both kinds of options are written ``group.option``.

    Raises Invalid naming all ``options`` without a value, and all files that can't be used.
    """
    found = [f"[{group}] {option} is missing" for group, _, option in (name.partition(".") for name in options)
             if not value_of(conf, group, option)]
    texts: dict[str, str | None] = {}
    for name in secrets:
        group, _, option = name.partition(".")
        try:
            texts[name] = secret(conf, group, option)
        except errors.Invalid as exc:
            found.append(exc.message)
    if found:
        raise errors.Invalid("; ".join(found), code="bad_configuration")
    return texts


def secret(conf: Any, group: str, option: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what stands in the file that an option names, None when it names none.  Raises Invalid.

    A name without a slash is a systemd credential.  The line break at the end does not count.
    """
    name = value_of(conf, group, option)
    if not name:
        return None
    told = f"[{group}] {option}"
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if "/" not in name and not folder:
        raise errors.Invalid(f"{told} names the systemd credential {name}, and systemd has handed over none; "
                             "write a path, or add LoadCredential= to the unit", code="bad_configuration")
    path = Path(name) if "/" in name else Path(folder or "") / name
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise errors.Invalid(f"{told}: the file {path} can't be read: {reason}", code="bad_configuration") from exc
    if not text.strip():
        raise errors.Invalid(f"{told}: the file {path} is empty", code="bad_configuration")
    if mode & stat.S_IROTH:
        LOG.warning("%s: everybody may read the file %s; chmod o-r would help", told, path)
    return text


def database_url(conf: Any) -> str:
    """Return the URL of the database, with the password from its file.  Raises Invalid."""
    url, password = str(conf.database.connection), secret(conf, "database", "password_file")
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if password is None:
        return url
    if not at or ":" in user:
        raise errors.Invalid("[database] password_file is for a connection that has a user and no password",
                             code="bad_configuration")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


@functools.cache
def library_options(kind: str) -> list[tuple[str, list[Any]]]:
    """Return copies of the libraries' options by group; the same ones each time, as gathering them takes long."""
    found = []
    for entry in importlib.metadata.entry_points(group="oslo.config.opts"):
        if entry.name in (*_LIBRARIES, *_LIBRARIES_OF.get(kind, ())):
            found += [(group or "DEFAULT", list(options)) for group, options in entry.load()()]
    if kind == "api":
        # how the API proves to Keystone who it is; the middleware learns it from auth_type and lists none
        found.append(("keystone_authtoken",
                      importlib.import_module("keystoneauth1.loading").get_auth_plugin_conf_options("password")))
    found += [(group, list(getattr(importlib.import_module(module), group))) for group, module in _UNLISTED.items()]
    copies = [(group, copy.deepcopy(options)) for group, options in sorted(found, key=lambda one: one[0])
              if group not in _NOT_OURS]
    for option in (option for _, options in copies for option in options):
        # needed by whoever uses it, who says so; not by every process of the kind
        option.required = False
    return copies


def _sample(kind: str) -> list[tuple[str, list[Any]]]:
    libraries = library_options(kind)
    for option in (option for _, options in libraries for option in options if option.dest in _SHOWN):
        option.sample_default = _SHOWN[option.dest]
    return [*((group, list(GROUPS[group])) for group in KINDS[kind]), *libraries]


def list_conductor() -> list[tuple[str, list[Any]]]:
    """Return what oslo-config-generator asks for."""
    return _sample("conductor")


def list_agent() -> list[tuple[str, list[Any]]]:
    """Return what oslo-config-generator asks for."""
    return _sample("agent")


def list_api() -> list[tuple[str, list[Any]]]:
    """Return what oslo-config-generator asks for."""
    return _sample("api")
