"""Keystone: a token for each request, a new one when it has ended, and the API's place in the catalogue.

All the work is keystoneauth's; here its errors become sentences with an exit status.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1.plugin import FixedEndpointPlugin
from keystoneauth1.session import Session

from conductor.cli.client import REFUSED, UNAVAILABLE, USAGE, Access, Refusal, reason, session_for

T = TypeVar("T")

#: what the API is in the catalogue; in a cloud with Nova, the name tells the two apart
SERVICE_TYPE, SERVICE_NAME = "compute", "corral"
TIMEOUT_S = 30.0

# It warns of what ends in a refusal anyway.
logging.getLogger("keystoneauth.identity.generic.base").setLevel(logging.ERROR)


class Keystone(Access):
    """Somebody whom Keystone knows, by any of the ways that keystoneauth has."""

    def __init__(self, settings: Mapping[str, str], cacert: str | None = None) -> None:
        """Take the names of keystoneauth's options; asks nobody yet.  Raises Refusal."""
        super().__init__(cacert)
        self._url = settings.get("auth_url", "")
        names = ("username", "user_id", "application_credential_name", "application_credential_id")
        self._who = next((settings[name] for name in names if name in settings), "whoever that is")
        self._region = settings.get("region_name")
        self._interface = settings.get("interface", "public")
        kind = settings.get("auth_type", "password")
        self.scheme = {"http_basic": "basic", "none": ""}.get(kind, "keystone")
        self._name = settings.get("compute_service_name", SERVICE_NAME)
        try:
            loader: Any = loading.get_plugin_loader(kind)
            plugin = loader.load_from_options_getter(lambda option: _with_domains(settings).get(option.dest))
        except (exceptions.ClientException, TypeError, ValueError) as exc:
            raise Refusal(f"What was said about Keystone can't be used: {exc} (auth_type {kind})", "bad_credentials",
                          USAGE) from exc
        if any(option.dest == "password" for option in loader.get_options()) and not settings.get("password"):
            raise Refusal(f"There is no password for {self._who}: OS_PASSWORD, or a file named by --password-file, has "
                          "it", "bad_credentials", USAGE)
        self._has_catalogue = not isinstance(plugin, FixedEndpointPlugin)
        # how clouds.yaml says it for the ways that have no catalogue
        self._override = None if self._has_catalogue else settings.get("compute_endpoint_override")
        self._session = Session(auth=plugin, session=session_for(self._url), verify=cacert or True, timeout=TIMEOUT_S)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token, a new one if that at hand is about to end.  Raises Refusal."""
        headers = self._asked(self._session.get_auth_headers)
        request.headers.update(headers or {})
        return request

    def renew(self) -> bool:
        """Forget the token; return whether another one can be had.  Raises Refusal."""
        return bool(self._asked(self._session.invalidate))

    def endpoint(self) -> str | None:
        """Return the API's address from the catalogue, or as it was given where there is none.  Raises Refusal."""
        def look() -> str | None:
            return self._session.get_endpoint(service_type=SERVICE_TYPE, service_name=self._name,
                                              region_name=self._region, interface=self._interface)
        try:
            found = self._override or self._asked(look)
        except exceptions.CatalogException:
            found = None
        if not found and self._has_catalogue:
            where = f" in the region {self._region}" if self._region else ""
            raise Refusal(f"The catalogue has no service {self._name} of the type {SERVICE_TYPE}{where}, or the token "
                          "is for no project; --endpoint says where the API is", "not_in_catalogue", USAGE)
        return found and found.rstrip("/").removesuffix("/v2.1")

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except exceptions.CatalogException:
            raise
        except exceptions.Unauthorized as exc:
            raise Refusal(f"Keystone at {self._url} does not let {self._who} in: name, domain, project or password is "
                          "wrong, or what was given has ended", "unauthenticated", REFUSED) from exc
        except (exceptions.ConnectionError, exceptions.DiscoveryFailure, exceptions.HttpServerError) as exc:
            why = reason(exc.__context__) if isinstance(exc.__context__, requests.RequestException) else exc
            raise Refusal(f"Keystone at {self._url} can't be asked ({why})", "keystone_unavailable",
                          UNAVAILABLE) from exc
        except exceptions.ClientException as exc:
            raise Refusal(f"Keystone at {self._url} can't make anything of what was given: {exc}", "bad_credentials",
                          USAGE) from exc


def _with_domains(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with the domain ``default`` for names that have none, as OpenStack's clients do."""
    found = dict(settings)
    for name, kind in (("username", "user"), ("project_name", "project")):
        said = (f"{kind}_domain_id", f"{kind}_domain_name", "default_domain_id", "default_domain_name")
        if name in found and not any(one in found for one in said):
            found[f"{kind}_domain_id"] = "default"
    return found
