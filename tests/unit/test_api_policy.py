"""Who may ask for what: every route as every persona, and the policy file."""

from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from oslo_config import cfg
from oslo_policy import generator

from common import errors
from common.clock import SetClock
from conductor.api import policy
from conductor.api.app import make_app
from conductor.api.auth import Environ, Identity
from conductor.api.policy import Policy
from conductor.api.routes import ROUTES
from tests.unit.api_conductor import InMemory

SAMPLE = Path(__file__).parents[2] / "etc" / "corral" / "corral-policy.yaml.sample"
OPERATOR = {"is_operator_project": True}
SYSTEM = {"system_scope": "all"}

#: who, with which roles where
PERSONAS: dict[str, tuple[set[str], dict[str, Any]]] = {
    "admin": ({"admin", "manager", "member", "reader"}, {}),
    "manager": ({"manager", "member", "reader"}, OPERATOR),
    "reader": ({"reader"}, OPERATOR),
    "service": ({"service"}, {}),
    "system manager": ({"manager", "member", "reader"}, SYSTEM),
    "system reader": ({"reader"}, SYSTEM),
    "a tenant's manager": ({"manager", "member", "reader"}, {}),
    "a tenant's reader": ({"reader"}, {}),
    "nobody": (set(), SYSTEM),
}

READS = {"admin", "manager", "reader", "service", "system manager", "system reader"}
MANAGES = {"admin", "manager", "system manager"}
SERVES = {*MANAGES, "service"}
ADMINS = {"admin"}
TENANTS = {*READS, "a tenant's manager", "a tenant's reader"}

#: what a route does, by method and address without variables; all other GETs are reads
ALLOWED = {
    "POST /v2.1/os-aggregates": ADMINS, "PUT /v2.1/os-aggregates/{}": ADMINS, "DELETE /v2.1/os-aggregates/{}": ADMINS,
    "POST /v2.1/os-aggregates/{}/action (set_metadata)": ADMINS,
    "POST /v2.1/os-aggregates/{}/action (add_host)": MANAGES,
    "POST /v2.1/os-aggregates/{}/action (remove_host)": MANAGES,
    "GET /v2.1/os-availability-zone": TENANTS,
    "GET /v2.1/os-hosts/{}/startup": ADMINS, "GET /v2.1/os-hosts/{}/shutdown": ADMINS,
    "GET /v2.1/os-hosts/{}/reboot": ADMINS, "PUT /v2.1/os-hosts/{}": MANAGES,
    "PUT /v2.1/os-services/enable": SERVES, "PUT /v2.1/os-services/disable": SERVES,
    "PUT /v2.1/os-services/disable-log-reason": SERVES, "PUT /v2.1/os-services/force-down": ADMINS,
    "PUT /v2.1/os-services/{}": SERVES, "DELETE /v2.1/os-services/{}": ADMINS,
    "POST /v2.1/servers/{}/action (os-migrateLive)": MANAGES, "DELETE /v2.1/servers/{}/migrations/{}": MANAGES,
    "POST /v2.1/servers/{}/migrations/{}/action": MANAGES,
    "POST /v1/hosts/{}/maintenance": MANAGES, "DELETE /v1/hosts/{}": ADMINS, "POST /v1/plans": SERVES,
    "POST /v1/operations/{}/cancel": MANAGES, "POST /v1/operations/{}/pause": MANAGES,
    "POST /v1/operations/{}/resume": MANAGES, "POST /v1/operations/{}/retry": MANAGES,
    "POST /v1/operations/{}/abandon": ADMINS, "POST /v1/aggregates/{}/roll": MANAGES,
}

#: the least body that is looked at closely enough for its action to be seen
ACTIONS = {"add_host": {"host": "h9"}, "remove_host": {"host": "h9"}, "set_metadata": {"metadata": {"k": "v"}},
           "os-migrateLive": {"host": None, "block_migration": "auto"}}


def every_place() -> list[tuple[str, str, str | None]]:
    """Return every route with every action that its rules tell apart."""
    found: list[tuple[str, str, str | None]] = []
    for route in ROUTES:
        if (route.method, route.url) in policy.PUBLIC:
            continue
        actions = [name for name in ACTIONS if policy.rule_of(route.method, route.url, name)]
        if not policy.has_actions(route.method, route.url):
            actions = [""]
        found += [(route.method, route.url, name or None) for name in actions]
    return found


class Persona:
    """A strategy that finds everybody to be one persona."""

    def __init__(self, name: str) -> None:
        self._roles, self._credentials = PERSONAS[name]

    def identify(self, environ: Environ) -> Identity:
        """Return the persona."""
        return Identity("somebody", frozenset(self._roles), self._credentials)


@pytest.fixture(scope="module")
def clients() -> dict[str, falcon.testing.TestClient]:
    rules = Policy()
    return {name: falcon.testing.TestClient(make_app(InMemory(), auth=Persona(name), rules=rules))
            for name in PERSONAS}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.url}")
def test_each_route_has_a_rule_or_is_public(route: Any) -> None:
    public = (route.method, route.url) in policy.PUBLIC
    if policy.has_actions(route.method, route.url):
        actions = set(route.body["properties"]) if "properties" in route.body else set()
        actions |= {name for one in route.body.get("oneOf", ()) for name in one["properties"]}
        assert actions and all(policy.rule_of(route.method, route.url, name) for name in actions)
    else:
        assert public != (policy.rule_of(route.method, route.url) is not None)


def test_each_rule_is_about_a_route() -> None:
    there = {(route.method, policy.shape(route.url)) for route in ROUTES}
    asked = {(str(one["method"]), policy.shape(one["path"].partition(" (")[0]))
             for rule in policy.list_rules() for one in getattr(rule, "operations", ())}
    assert not asked - there


@pytest.mark.parametrize("method, url, action", every_place())
def test_each_persona_gets_exactly_what_it_may(clients: dict[str, falcon.testing.TestClient], method: str, url: str,
                                               action: str | None) -> None:
    place = f"{method} {policy.shape(url)}" + (f" ({action})" if action else "")
    allowed = ALLOWED[place] if method != "GET" else ALLOWED.get(place, READS)
    body = {action: ACTIONS[action]} if action else None
    path = url.replace("{aggregate}", "7").replace("{", "").replace("}", "")
    passed = set()
    for name, client in clients.items():
        result = client.simulate_request(method, path, json=body)
        if result.headers.get("Corral-Error") != "not_allowed":
            passed.add(name)
        else:
            assert result.status_code == 403
            assert list(result.json) == (["forbidden"] if url.startswith("/v2") else ["error"])
            assert result.headers["x-openstack-request-id"].startswith("req-")
    assert passed == allowed


def test_a_refusal_names_the_rule_and_what_roles_one_has() -> None:
    client = falcon.testing.TestClient(make_app(InMemory(), auth=Persona("reader")))
    result = client.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}})
    assert result.json == {"forbidden": {"code": 403, "message": (
        "Policy doesn't allow corral:aggregates:create to be performed; your roles here: reader")}}


def test_what_is_not_allowed_is_not_even_read() -> None:
    conductor = InMemory()
    client = falcon.testing.TestClient(make_app(conductor, auth=Persona("reader")))
    result = client.simulate_post("/v1/plans", body=b"{" * 100_000, headers={"Content-Type": "application/json"})
    assert result.status_code == 403 and conductor.calls == []


@pytest.mark.parametrize("body", [{}, {"no_such_action": {}}, {"add_host": {"host": "h"}, "set_metadata": {}}])
def test_a_body_without_one_action_that_is_known_is_refused(body: dict[str, Any]) -> None:
    conductor = InMemory()
    client = falcon.testing.TestClient(make_app(conductor, auth=Persona("admin")))
    assert client.simulate_post("/v2.1/os-aggregates/1/action", json=body).status_code == 400
    assert conductor.calls == []


def test_what_has_no_rule_is_refused_to_administrators_too() -> None:
    with pytest.raises(policy.NotAllowed, match="No rule"):
        Policy().check("GET", "/v1/nothing", None, {"roles": ["admin"]})


def in_folder(folder: Path, text: str) -> Any:
    """Return a configuration whose policy file has ``text``."""
    (folder / "corral.conf").write_text("")
    (folder / policy.FILE).write_text(text)
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(folder / "corral.conf")], default_config_dirs=[])
    return conf


def may(rules: Policy, *roles: str) -> bool:
    """Return whether somebody may create an aggregate."""
    try:
        rules.check("POST", "/v2.1/os-aggregates", None, {"roles": list(roles)})
    except policy.NotAllowed:
        return False
    return True


def test_a_policy_file_changes_rules_and_a_change_counts_within_a_second(tmp_path: Path) -> None:
    clock = SetClock()
    rules = Policy(in_folder(tmp_path, '"corral:aggregates:create": "role:rack_crew"\n'), clock)
    assert may(rules, "rack_crew") and not may(rules, "admin")
    (tmp_path / policy.FILE).write_text("{}\n\n")
    clock.advance(1)
    assert may(rules, "admin") and not may(rules, "rack_crew")


@pytest.mark.parametrize("text", ["[1, 2", '"corral:aggregates:create": "rule:no_such_rule"', '"a": "rule:a"',
                                  '"corral:aggregates:crate": "role:admin"'])
def test_a_policy_file_that_makes_no_sense_is_refused_at_the_start_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.Invalid, match=policy.FILE) as refused:
        Policy(in_folder(tmp_path, text))
    assert len(refused.value.message.splitlines()) == 1


def test_a_policy_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    conf = in_folder(tmp_path, "{}")
    policy.enforcer(conf)
    conf.set_override("policy_file", "other.yaml", group="oslo_policy")
    with pytest.raises(errors.Invalid, match=r"there is no file other\.yaml"):
        Policy(conf)


def test_a_policy_file_that_breaks_later_lets_nobody_in(tmp_path: Path) -> None:
    conf = in_folder(tmp_path, "{}")
    clock = SetClock()
    client = falcon.testing.TestClient(make_app(InMemory(), rules=Policy(conf, clock)))
    assert client.simulate_get("/v1/hosts").status_code == 200
    (tmp_path / policy.FILE).write_text("[1, 2")
    clock.advance(1)
    result = client.simulate_get("/v1/hosts")
    assert (result.status_code, result.headers["Corral-Error"]) == (503, "policy_unreadable")


def test_the_sample_policy_is_what_the_rules_print(tmp_path: Path) -> None:
    generator.generate_sample(["--namespace", "corral", "--output-file", str(tmp_path / "sample")], cfg.ConfigOpts())
    made = (tmp_path / "sample").read_text()
    assert "corral:aggregates:list" in made and made == SAMPLE.read_text()
