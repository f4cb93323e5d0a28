"""The whole API as one table: method, URL, function, and what body, query and answers look like.

It holds no behaviour.  A body schema of None means that no body is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from conductor.api import openapi
from conductor.api.exchange import Answer, Request
from conductor.api.nova import aggregates, hypervisors, migrations, servers, versions, zones
from conductor.api.nova import hosts as nova_hosts
from conductor.api.nova import services as nova_services
from conductor.api.schemas import answers_nova as told
from conductor.api.schemas import answers_v1 as told_v1
from conductor.api.schemas import nova, v1
from conductor.api.schemas.check import Checker, compiled
from conductor.api.schemas.fields import Schema
from conductor.api.v1 import aggregates as v1_aggregates
from conductor.api.v1 import hosts, operations, plans, service


@dataclass(frozen=True)
class Route:
    """One thing that can be asked."""

    method: str
    url: str
    function: Callable[[Request], Answer]
    body: Schema | None = None
    query: Schema | None = None      #: None: the query isn't read
    #: what a success looks like, by status (None: no body); 501 when it is only refused
    answers: Mapping[int, Schema | None] = field(default_factory=dict)

    @cached_property
    def body_checker(self) -> Checker | None:
        """The judge of bodies, made at first use: making one takes milliseconds."""
        return None if self.body is None else compiled(self.body)

    @cached_property
    def query_checker(self) -> Checker | None:
        """The judge of queries."""
        return None if self.query is None else compiled(self.query)


AGGREGATES = "/v2.1/os-aggregates"
OS_HOSTS = "/v2.1/os-hosts"
SERVICES = "/v2.1/os-services"
ZONES = "/v2.1/os-availability-zone"
HYPERVISORS = "/v2.1/os-hypervisors"
SERVERS = "/v2.1/servers"
MIGRATIONS = SERVERS + "/{server}/migrations"
OPERATION = "/v1/operations/{operation}"

_DESCRIBED = (
    Route("GET", "/", versions.index, answers={200: told.VERSIONS}),
    Route("GET", "/v2", versions.show_v20, answers={200: told.VERSION}),
    Route("GET", "/v2.1", versions.show_v21, answers={200: told.VERSION}),

    Route("GET", AGGREGATES, aggregates.index, query=nova.AGGREGATE_QUERY, answers={200: told.AGGREGATES}),
    Route("POST", AGGREGATES, aggregates.create, nova.AGGREGATE_CREATE, answers={200: told.CREATED_AGGREGATE}),
    Route("GET", AGGREGATES + "/{aggregate}", aggregates.show, answers={200: told.AGGREGATE}),
    Route("PUT", AGGREGATES + "/{aggregate}", aggregates.update, nova.AGGREGATE_UPDATE, answers={200: told.AGGREGATE}),
    Route("DELETE", AGGREGATES + "/{aggregate}", aggregates.delete, answers={200: None}),
    Route("POST", AGGREGATES + "/{aggregate}/action", aggregates.act, nova.AGGREGATE_ACTION,
          answers={200: told.AGGREGATE}),

    Route("GET", OS_HOSTS, nova_hosts.index, query=nova.HOST_QUERY, answers={200: told.HOSTS}),
    Route("GET", OS_HOSTS + "/{host}", nova_hosts.show, answers={200: told.HOST}),
    Route("PUT", OS_HOSTS + "/{host}", nova_hosts.update, nova.HOST_UPDATE,
          answers={200: told.HOST_CHANGED, 202: told.HOST_CHANGED}),
    Route("GET", OS_HOSTS + "/{host}/startup", nova_hosts.power, answers={501: None}),
    Route("GET", OS_HOSTS + "/{host}/shutdown", nova_hosts.power, answers={501: None}),
    Route("GET", OS_HOSTS + "/{host}/reboot", nova_hosts.power, answers={501: None}),

    Route("GET", SERVICES, nova_services.index, query=nova.SERVICE_QUERY, answers={200: told.SERVICES}),
    Route("PUT", SERVICES + "/enable", nova_services.enable, nova.SERVICE_UPDATE, answers={200: told.SERVICE_CHANGED}),
    Route("PUT", SERVICES + "/disable", nova_services.disable, nova.SERVICE_UPDATE,
          answers={200: told.SERVICE_CHANGED}),
    Route("PUT", SERVICES + "/disable-log-reason", nova_services.disable_log_reason, nova.SERVICE_UPDATE,
          answers={200: told.SERVICE_CHANGED}),
    Route("PUT", SERVICES + "/force-down", nova_services.force_down, nova.SERVICE_UPDATE,
          answers={200: told.SERVICE_CHANGED}),
    Route("PUT", SERVICES + "/{service}", nova_services.unknown),
    Route("DELETE", SERVICES + "/{service}", nova_services.delete, answers={204: None}),

    Route("GET", ZONES, zones.index, answers={200: told.ZONES}),
    Route("GET", ZONES + "/detail", zones.detail, answers={200: told.ZONES}),

    Route("GET", HYPERVISORS, hypervisors.index, query=nova.HYPERVISOR_QUERY, answers={200: told.SHORT_HYPERVISORS}),
    Route("GET", HYPERVISORS + "/detail", hypervisors.detail, query=nova.HYPERVISOR_QUERY,
          answers={200: told.HYPERVISORS}),
    Route("GET", HYPERVISORS + "/statistics", hypervisors.statistics, answers={200: told.STATISTICS}),
    Route("GET", HYPERVISORS + "/{hypervisor}", hypervisors.show, answers={200: told.HYPERVISOR}),
    Route("GET", HYPERVISORS + "/{hypervisor}/uptime", hypervisors.uptime, answers={200: told.UPTIME}),
    Route("GET", HYPERVISORS + "/{hypervisor}/search", hypervisors.search, answers={200: told.SHORT_HYPERVISORS}),
    Route("GET", HYPERVISORS + "/{hypervisor}/servers", hypervisors.servers, answers={200: told.SHORT_HYPERVISORS}),

    Route("GET", "/v2.1/os-migrations", migrations.index, query=nova.MIGRATION_QUERY, answers={200: told.MIGRATIONS}),
    Route("GET", MIGRATIONS, migrations.of_server, answers={200: told.SERVER_MIGRATIONS}),
    Route("GET", MIGRATIONS + "/{migration}", migrations.show, answers={200: told.SERVER_MIGRATION}),
    Route("DELETE", MIGRATIONS + "/{migration}", migrations.abort, answers={202: None}),
    Route("POST", MIGRATIONS + "/{migration}/action", migrations.act, nova.MIGRATION_ACTION, answers={501: None}),

    Route("GET", SERVERS, servers.index, query=nova.SERVER_QUERY, answers={200: told.SHORT_SERVERS}),
    Route("GET", SERVERS + "/detail", servers.detail, query=nova.SERVER_QUERY, answers={200: told.SERVERS}),
    Route("GET", SERVERS + "/{server}", servers.show, answers={200: told.SERVER}),
    Route("POST", SERVERS + "/{server}/action", servers.act, nova.SERVER_ACTION, answers={202: None}),

    Route("GET", "/v1/hosts", hosts.index, query=v1.HOST_QUERY, answers={200: told_v1.HOSTS}),
    Route("GET", "/v1/hosts/{host}", hosts.show, query=v1.NOTHING, answers={200: told_v1.HOST}),
    Route("DELETE", "/v1/hosts/{host}", hosts.forget, answers={204: None}),
    Route("GET", "/v1/hosts/{host}/vms", hosts.vms, query=v1.NOTHING, answers={200: told_v1.VMS}),
    Route("POST", "/v1/hosts/{host}/maintenance", hosts.maintain, v1.MAINTENANCE,
          answers={200: told_v1.CHANGED, 202: told_v1.CHANGED}),

    Route("POST", "/v1/plans", plans.create, v1.PLAN, answers={201: told_v1.PLAN}),
    Route("GET", "/v1/plans/{plan}", plans.show, query=v1.NOTHING, answers={200: told_v1.PLAN}),

    Route("GET", "/v1/operations", operations.index, query=v1.OPERATION_QUERY, answers={200: told_v1.OPERATIONS}),
    Route("GET", OPERATION, operations.show, query=v1.NOTHING, answers={200: told_v1.OPERATION}),
    Route("GET", OPERATION + "/events", operations.events, query=v1.EVENTS_QUERY, answers={200: told_v1.EVENTS}),
    Route("POST", OPERATION + "/cancel", operations.cancel, v1.NOTHING, answers={202: told_v1.OPERATION}),
    Route("POST", OPERATION + "/pause", operations.pause, v1.NOTHING, answers={202: told_v1.OPERATION}),
    Route("POST", OPERATION + "/resume", operations.resume, v1.NOTHING, answers={202: told_v1.OPERATION}),
    Route("POST", OPERATION + "/retry", operations.retry, v1.NOTHING, answers={202: told_v1.OPERATION}),
    Route("POST", OPERATION + "/abandon", operations.abandon, v1.ABANDON, answers={202: told_v1.OPERATION}),

    Route("GET", "/v1/aggregates/{aggregate}", v1_aggregates.show, query=v1.NOTHING, answers={200: told_v1.AGGREGATE}),
    Route("POST", "/v1/aggregates/{aggregate}/roll", service.roll, answers={501: None}),
    Route("GET", "/v1/why", service.why, answers={501: None}),
    Route("GET", "/healthcheck", service.health, answers={200: told_v1.HEALTH}),
)

#: all of them; the last one describes the others
ROUTES = (*_DESCRIBED, Route("GET", "/v1/openapi.json", openapi.serving(_DESCRIBED),
                             answers={200: told_v1.DOCUMENT}))
