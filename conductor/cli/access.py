"""Who asks: the ways in which a command proves it, and which one was meant.

It knows names, files and variables.  No password or token is ever an argument of a
command, where everybody on the machine could read it.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import requests
from requests.auth import HTTPBasicAuth

from conductor.cli.client import USAGE, Access, Refusal

Environ = Mapping[str, str]

#: what may be said of Keystone on the command line; each is a variable too, as for OpenStack's clients
KEYSTONE = ("cloud", "auth_type", "auth_url", "username", "user_domain_id", "user_domain_name", "project_id",
            "project_name", "project_domain_id", "project_domain_name", "system_scope", "region_name", "interface")


class Basic(Access):
    """A name and its password, sent with every request."""

    scheme = "basic"

    def __init__(self, user: str, password: str, cacert: str | None = None) -> None:
        super().__init__(cacert)
        self._proof = HTTPBasicAuth(user.encode(), password.encode())

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header Authorization."""
        proven: requests.PreparedRequest = self._proof(request)
        return proven


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who asks."""
    basic = parser.add_argument_group("an API with a file of passwords")
    basic.add_argument("--user", metavar="NAME", help="(CORRAL_USER); the password is in CORRAL_PASSWORD")
    basic.add_argument("--password-file", metavar="FILE", help="or in this file (CORRAL_PASSWORD_FILE)")
    keystone = parser.add_argument_group("an API behind Keystone", "the password is in OS_PASSWORD, or in that file")
    for name in KEYSTONE:
        keystone.add_argument(f"--os-{name.replace('_', '-')}", metavar=name.rpartition("_")[2].upper(),
                              help=f"(OS_{name.upper()})")
    parser.add_argument("--cacert", "--os-cacert", metavar="FILE",
                        help="certificates to trust (CORRAL_CACERT, OS_CACERT)")


def chosen(options: argparse.Namespace, environ: Environ) -> Access:
    """Return the way in that is meant; an option goes before a variable, and nothing said is nobody.

    Raises Refusal with the exit status USAGE.
    """
    said = {name: value for name in KEYSTONE if (value := getattr(options, f"os_{name}"))}
    user = options.user or ("" if said else environ.get("CORRAL_USER"))
    password_file = options.password_file or environ.get("CORRAL_PASSWORD_FILE")
    cacert = options.cacert or environ.get("CORRAL_CACERT") or environ.get("OS_CACERT")
    if cacert and not Path(cacert).is_file():
        raise Refusal(f"There is no file {cacert} with certificates to trust", "bad_credentials", USAGE)
    if user:
        if options.user and said:
            raise Refusal("--user is for a file of passwords, --os-... is for Keystone: one of both",
                          "bad_credentials", USAGE)
        password = from_file(password_file) if password_file else environ.get("CORRAL_PASSWORD")
        if password is None:
            raise Refusal(f"There is no password for {user}: CORRAL_PASSWORD, or a file named by --password-file, "
                          "has it", "bad_credentials", USAGE)
        return Basic(user, password, cacert)
    if said or any(environ.get(f"OS_{name}") for name in ("CLOUD", "AUTH_TYPE", "AUTH_URL")):
        # Here, because it takes half a second to load and the other ways do without.
        from conductor.cli import clouds, keystone
        settings = clouds.settings(said, environ)
        if password_file:
            settings["password"] = from_file(password_file)
        return keystone.Keystone(settings, cacert or settings.get("cacert"))
    return Access(cacert)


def from_file(path: str) -> str:
    """Return the password in a file, without the end of its line.  Raises Refusal."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise Refusal(f"The file of the password, {path}, can't be read: {why}", "bad_credentials", USAGE) from exc
