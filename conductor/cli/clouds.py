"""What was said about Keystone: options, and clouds.yaml or the variables of OpenStack's clients.

It knows names and values, and not what Keystone makes of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from conductor.cli.client import USAGE, Refusal

Settings = dict[str, str]


def settings(said: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Return all that is known about Keystone, by the names of keystoneauth's options.

    What is ``said`` goes first; the rest comes from the cloud that is named, else from the
    variables.  Raises Refusal.
    """
    variables = {name.removeprefix("OS_").lower(): value for name, value in environ.items()
                 if name.startswith("OS_") and value}
    cloud = said.get("cloud") or variables.get("cloud")
    known = _of_cloud(cloud, environ) if cloud else variables
    return {**known, **said}


def _of_cloud(name: str, environ: Mapping[str, str]) -> Settings:
    public, secret = (_found(kind, name, environ) for kind in ("clouds", "secure"))
    if not public:
        raise Refusal(f"No clouds.yaml has a cloud {name!r}; looked for in "
                      + ", ".join(map(str, _places("clouds", environ))), "bad_credentials", USAGE)
    if "profile" in public or public.get("verify", True) is not True:
        raise Refusal(f"The cloud {name!r} has a profile, or verify: false; corral knows no profiles and always looks "
                      "at certificates: auth_url and cacert say the same", "bad_credentials", USAGE)
    merged = {**public, **secret, **_mapping(public.get("auth")), **_mapping(secret.get("auth"))}
    return {str(key): str(value) for key, value in merged.items() if isinstance(value, str | int | float)}


def _found(kind: str, name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the first file of that kind says about a cloud, {} when there is none."""
    for path in _places(kind, environ):
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, yaml.YAMLError) as exc:
            # the words of the parser may show the line, which may hold a password
            why = exc.strerror if isinstance(exc, OSError) else "it is no YAML"
            raise Refusal(f"{path} can't be read: {why}", "bad_credentials", USAGE) from exc
        return _mapping(_mapping(_mapping(read).get("clouds")).get(name))
    return {}


def _places(kind: str, environ: Mapping[str, str]) -> Iterator[Path]:
    variable = {"clouds": "OS_CLIENT_CONFIG_FILE", "secure": "OS_CLIENT_SECURE_FILE"}[kind]
    if environ.get(variable):
        yield Path(environ[variable])
    yield Path(f"{kind}.yaml").absolute()
    if environ.get("HOME"):
        yield Path(environ["HOME"], ".config", "openstack", f"{kind}.yaml")
    yield Path("/etc/openstack", f"{kind}.yaml")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
