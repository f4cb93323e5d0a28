"""Who may do what: one rule for each thing that can be asked, and who is allowed it by default.

An operator changes rules in a policy file; what has no rule is refused to everybody.  It
knows roles and routes, and nothing of how somebody proved who he is.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

from common import errors
from common.clock import Clock, SystemClock

#: the policy file, looked for beside the configuration; it need not be there
FILE = "policy.yaml"

#: seconds for which an answer holds; to look for files and try the rules takes longer than many a request's rest
_HOLDS_S = 1.0
#: answers that are remembered at once
_REMEMBERED = 1000

#: asked before anybody can have a token: no authentication, no rule
PUBLIC = frozenset({("GET", "/"), ("GET", "/v2"), ("GET", "/v2.1"), ("GET", "/healthcheck"),
                    ("GET", "/v1/openapi.json")})

# An administrator anywhere is one everywhere, as in all of OpenStack.  Every tenant's users may
# be readers or managers of their own project, and must not see or command hosts by that.
_ROLES = (
    policy.RuleDefault("admin", "role:admin", description="Everything."),
    policy.RuleDefault("operator", "system_scope:all or is_operator_project:True",
                       description="Whoever acts for the cloud and not for a tenant: with a token for the system, or "
                                   "for a project named in [api] operator_projects."),
    policy.RuleDefault("manager", "rule:admin or (role:manager and rule:operator)",
                       description="Takes hosts out and back: maintenance, plans, operations, hosts of aggregates."),
    policy.RuleDefault("reader", "rule:manager or (role:reader and rule:operator)", description="Sees everything."),
    policy.RuleDefault("service", "role:service", description="Another service."),
    policy.RuleDefault("default", "!", description="What no rule is about is refused to everybody."),
)

_READ = "rule:reader or rule:service"
_TENANT = f"role:reader or {_READ}"     # whoever may use the cloud at all
_SERVE = "rule:manager or rule:service"
_MANAGE = "rule:manager"
_ADMIN = "rule:admin"

#: name, who may, what it is, and where it is asked for; the action in the body stands in brackets
_TABLE: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("aggregates:list", _READ, "List aggregates.", ("GET /v2.1/os-aggregates",)),
    ("aggregates:show", _READ, "Show an aggregate.",
     ("GET /v2.1/os-aggregates/{aggregate}", "GET /v1/aggregates/{aggregate}")),
    ("aggregates:create", _ADMIN, "Create an aggregate.", ("POST /v2.1/os-aggregates",)),
    ("aggregates:update", _ADMIN, "Change an aggregate's name or zone.", ("PUT /v2.1/os-aggregates/{aggregate}",)),
    ("aggregates:delete", _ADMIN, "Delete an aggregate.", ("DELETE /v2.1/os-aggregates/{aggregate}",)),
    ("aggregates:set_metadata", _ADMIN, "Change an aggregate's metadata.",
     ("POST /v2.1/os-aggregates/{aggregate}/action (set_metadata)",)),
    ("aggregates:add_host", _MANAGE, "Add a host to an aggregate, and with that to its pool.",
     ("POST /v2.1/os-aggregates/{aggregate}/action (add_host)",)),
    ("aggregates:remove_host", _MANAGE, "Remove a host from an aggregate, and with that from its pool.",
     ("POST /v2.1/os-aggregates/{aggregate}/action (remove_host)",)),
    ("aggregates:roll", _MANAGE, "Roll through an aggregate.", ("POST /v1/aggregates/{aggregate}/roll",)),

    ("hosts:list", _READ, "List hosts.", ("GET /v2.1/os-hosts", "GET /v1/hosts")),
    ("hosts:show", _READ, "Show a host.", ("GET /v2.1/os-hosts/{host}", "GET /v1/hosts/{host}")),
    ("hosts:vms", _READ, "List a host's VMs.", ("GET /v1/hosts/{host}/vms",)),
    ("hosts:maintain", _MANAGE, "Take a host out of service or back: its status, its maintenance.",
     ("PUT /v2.1/os-hosts/{host}", "POST /v1/hosts/{host}/maintenance")),
    ("hosts:power", _ADMIN, "Start, stop or reboot a host.",
     ("GET /v2.1/os-hosts/{host}/startup", "GET /v2.1/os-hosts/{host}/shutdown", "GET /v2.1/os-hosts/{host}/reboot")),

    ("hosts:forget", _ADMIN, "Forget a host.", ("DELETE /v1/hosts/{host}",)),

    ("zones:list", _TENANT, "List availability zones.", ("GET /v2.1/os-availability-zone",)),
    ("zones:detail", _READ, "List availability zones with their hosts.", ("GET /v2.1/os-availability-zone/detail",)),
    ("services:list", _READ, "List agents and conductors as services.", ("GET /v2.1/os-services",)),
    ("services:update", _SERVE, "Let a host take new VMs, or not; none is moved.",
     ("PUT /v2.1/os-services/enable", "PUT /v2.1/os-services/disable", "PUT /v2.1/os-services/disable-log-reason",
      "PUT /v2.1/os-services/{service}")),
    ("services:force_down", _ADMIN, "Declare a service to be down.", ("PUT /v2.1/os-services/force-down",)),
    ("services:delete", _ADMIN, "Forget a service that is down.", ("DELETE /v2.1/os-services/{service}",)),
    ("hypervisors:list", _READ, "List hypervisors.",
     ("GET /v2.1/os-hypervisors", "GET /v2.1/os-hypervisors/detail", "GET /v2.1/os-hypervisors/statistics",
      "GET /v2.1/os-hypervisors/{hypervisor}/search")),
    ("hypervisors:show", _READ, "Show a hypervisor.",
     ("GET /v2.1/os-hypervisors/{hypervisor}", "GET /v2.1/os-hypervisors/{hypervisor}/uptime",
      "GET /v2.1/os-hypervisors/{hypervisor}/servers")),
    ("servers:list", _READ, "List VMs.", ("GET /v2.1/servers", "GET /v2.1/servers/detail")),
    ("servers:show", _READ, "Show a VM.", ("GET /v2.1/servers/{server}",)),
    ("servers:migrate", _MANAGE, "Move a VM to another host.",
     ("POST /v2.1/servers/{server}/action (os-migrateLive)",)),
    ("migrations:list", _READ, "List moves as migrations.",
     ("GET /v2.1/os-migrations", "GET /v2.1/servers/{server}/migrations",
      "GET /v2.1/servers/{server}/migrations/{migration}")),
    ("migrations:abort", _MANAGE, "Cancel a move.", ("DELETE /v2.1/servers/{server}/migrations/{migration}",)),
    ("migrations:complete", _MANAGE, "Force a move to its end.",
     ("POST /v2.1/servers/{server}/migrations/{migration}/action",)),

    ("plans:create", _SERVE, "Plan without doing anything.", ("POST /v1/plans",)),
    ("plans:show", _READ, "Show a plan.", ("GET /v1/plans/{plan}",)),
    ("why:show", _READ, "Ask why a VM can't go to a host.", ("GET /v1/why",)),

    ("operations:list", _READ, "List operations.", ("GET /v1/operations",)),
    ("operations:show", _READ, "Show an operation.", ("GET /v1/operations/{operation}",)),
    ("operations:events", _READ, "Follow an operation.", ("GET /v1/operations/{operation}/events",)),
    ("operations:cancel", _MANAGE, "Cancel an operation.", ("POST /v1/operations/{operation}/cancel",)),
    ("operations:pause", _MANAGE, "Pause an operation.", ("POST /v1/operations/{operation}/pause",)),
    ("operations:resume", _MANAGE, "Resume an operation.", ("POST /v1/operations/{operation}/resume",)),
    ("operations:retry", _MANAGE, "Try again what waits for attention.", ("POST /v1/operations/{operation}/retry",)),
    ("operations:abandon", _ADMIN, "Give up an operation, which leaves its host in quarantine.",
     ("POST /v1/operations/{operation}/abandon",)),
)


class NotAllowed(errors.Forbidden):
    """The policy does not allow this."""

    code = "not_allowed"


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules, as oslopolicy-sample-generator asks for them."""
    rules: list[policy.RuleDefault] = list(_ROLES)
    for name, check, words, places in _TABLE:
        operations: list[policy.Operation] = [{"method": method, "path": path} for method, _, path in
                                              (place.partition(" ") for place in places)]
        rules.append(policy.DocumentedRuleDefault(f"corral:{name}", check, words, operations))
    return rules


def enforcer(conf: Any = None) -> policy.Enforcer:
    """Return oslo.policy's enforcer of our rules and of the policy file that ``conf`` names."""
    if conf is None:
        conf = cfg.ConfigOpts()
        conf([], project="corral", default_config_files=[], default_config_dirs=[])
    opts.set_defaults(conf, policy_file=FILE)
    found = policy.Enforcer(conf)
    found.register_defaults(list_rules())
    return found


class Policy:
    """The rules in force; a changed policy file counts within a second."""

    def __init__(self, conf: Any = None, clock: Clock | None = None) -> None:
        """Take the configuration that has been read; without one there is no policy file.  Raises Invalid."""
        self._enforcer = enforcer(conf)
        named = FILE if conf is None else conf.oslo_policy.policy_file
        if named != FILE and conf.find_file(named) is None:
            raise errors.Invalid(f"[oslo_policy] policy_file: there is no file {named}", code="bad_configuration")
        self._clock = clock or SystemClock()
        self._answers: dict[tuple[str, str], tuple[float, bool]] = {}
        if conf is None:
            self._enforcer.use_conf = False
            self._enforcer.rules = policy.Rules({rule.name: rule.check for rule in list_rules()}, "default")
        try:
            self._enforcer.load_rules()
            self._enforcer.check_rules(raise_on_violation=True)
            self._require_known()
        except (ValueError, policy.InvalidDefinitionError, cfg.Error) as exc:
            # a parser shows the place in lines of its own
            why = " ".join(str(exc).split())
            raise errors.Invalid(f"The policy file {self._enforcer.policy_path} can't be used: {why}",
                                 code="bad_configuration") from exc

    def _require_known(self) -> None:
        """Raise ValueError for a rule of ours that nothing asks for: the one that was meant would stay as it is."""
        known = {rule.name for rule in list_rules()}
        ours = {name for name in self._enforcer.file_rules if name.startswith("corral:")}
        if odd := sorted(ours - known):
            raise ValueError(f"there is no rule {', '.join(odd)}")

    def check(self, method: str, url: str, action: str | None, credentials: Mapping[str, Any]) -> None:
        """Raise NotAllowed unless who has ``credentials`` may ask for this; Unavailable when no rule can be read.

        ``action`` is the one that the body names, where the rules tell actions apart.
        """
        name = rule_of(method, url, action)
        if name is None:
            raise NotAllowed(f"No rule allows anybody {method} {url}", code="no_rule")
        try:
            allowed = self._allows(name, dict(credentials))
        except (ValueError, cfg.Error) as exc:
            raise errors.Unavailable(f"The policy file {self._enforcer.policy_path} can't be used: {exc}",
                                     code="policy_unreadable") from exc
        if not allowed:
            roles = ", ".join(sorted(credentials["roles"])) or "none"
            raise NotAllowed(f"Policy doesn't allow {name} to be performed; your roles here: {roles}")

    def _allows(self, name: str, credentials: dict[str, Any]) -> bool:
        asked, now = (name, json.dumps(credentials, sort_keys=True)), self._clock.monotonic()
        ends, allowed = self._answers.get(asked, (now, False))
        if ends <= now:
            allowed = bool(self._enforcer.authorize(name, {}, credentials))
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[asked] = now + _HOLDS_S, allowed
        return allowed


def has_actions(method: str, url: str) -> bool:
    """Return whether the rule depends on the action that the body names."""
    return f"{method} {shape(url)}" in _ACTIONS


def rule_of(method: str, url: str, action: str | None = None) -> str | None:
    """Return the name of the rule for a route, None when there is none."""
    place = f"{method} {shape(url)}"
    return _BY_PLACE.get(f"{place} ({action})" if place in _ACTIONS else place)


def shape(url: str) -> str:
    """Return a URL without the names of its variables."""
    return re.sub("{[a-z]+}", "{}", url)


_BY_PLACE = {shape(place): f"corral:{name}" for name, _, _, places in _TABLE for place in places}
_ACTIONS = frozenset(place.partition(" (")[0] for place in _BY_PLACE if place.endswith(")"))
