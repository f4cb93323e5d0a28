"""The whole API as one table: method, URL, function, and what body and query must look like.

It holds no behaviour.  A body schema of None means that no body is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from conductor.api.exchange import Answer, Request
from conductor.api.nova import aggregates, hypervisors, migrations, servers, versions, zones
from conductor.api.nova import hosts as nova_hosts
from conductor.api.nova import services as nova_services
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

ROUTES = (
    Route("GET", "/", versions.index),
    Route("GET", "/v2", versions.show_v20),
    Route("GET", "/v2.1", versions.show_v21),

    Route("GET", AGGREGATES, aggregates.index, query=nova.AGGREGATE_QUERY),
    Route("POST", AGGREGATES, aggregates.create, nova.AGGREGATE_CREATE),
    Route("GET", AGGREGATES + "/{aggregate}", aggregates.show),
    Route("PUT", AGGREGATES + "/{aggregate}", aggregates.update, nova.AGGREGATE_UPDATE),
    Route("DELETE", AGGREGATES + "/{aggregate}", aggregates.delete),
    Route("POST", AGGREGATES + "/{aggregate}/action", aggregates.act, nova.AGGREGATE_ACTION),

    Route("GET", OS_HOSTS, nova_hosts.index, query=nova.HOST_QUERY),
    Route("GET", OS_HOSTS + "/{host}", nova_hosts.show),
    Route("PUT", OS_HOSTS + "/{host}", nova_hosts.update, nova.HOST_UPDATE),
    Route("GET", OS_HOSTS + "/{host}/startup", nova_hosts.power),
    Route("GET", OS_HOSTS + "/{host}/shutdown", nova_hosts.power),
    Route("GET", OS_HOSTS + "/{host}/reboot", nova_hosts.power),

    Route("GET", SERVICES, nova_services.index, query=nova.SERVICE_QUERY),
    Route("PUT", SERVICES + "/enable", nova_services.enable, nova.SERVICE_UPDATE),
    Route("PUT", SERVICES + "/disable", nova_services.disable, nova.SERVICE_UPDATE),
    Route("PUT", SERVICES + "/disable-log-reason", nova_services.disable_log_reason, nova.SERVICE_UPDATE),
    Route("PUT", SERVICES + "/force-down", nova_services.force_down, nova.SERVICE_UPDATE),
    Route("PUT", SERVICES + "/{service}", nova_services.unknown),
    Route("DELETE", SERVICES + "/{service}", nova_services.delete),

    Route("GET", ZONES, zones.index),
    Route("GET", ZONES + "/detail", zones.detail),

    Route("GET", HYPERVISORS, hypervisors.index, query=nova.HYPERVISOR_QUERY),
    Route("GET", HYPERVISORS + "/detail", hypervisors.detail, query=nova.HYPERVISOR_QUERY),
    Route("GET", HYPERVISORS + "/statistics", hypervisors.statistics),
    Route("GET", HYPERVISORS + "/{hypervisor}", hypervisors.show),
    Route("GET", HYPERVISORS + "/{hypervisor}/uptime", hypervisors.uptime),
    Route("GET", HYPERVISORS + "/{hypervisor}/search", hypervisors.search),
    Route("GET", HYPERVISORS + "/{hypervisor}/servers", hypervisors.servers),

    Route("GET", "/v2.1/os-migrations", migrations.index, query=nova.MIGRATION_QUERY),
    Route("GET", MIGRATIONS, migrations.of_server),
    Route("GET", MIGRATIONS + "/{migration}", migrations.show),
    Route("DELETE", MIGRATIONS + "/{migration}", migrations.abort),
    Route("POST", MIGRATIONS + "/{migration}/action", migrations.act, nova.MIGRATION_ACTION),

    Route("GET", SERVERS, servers.index, query=nova.SERVER_QUERY),
    Route("GET", SERVERS + "/detail", servers.detail, query=nova.SERVER_QUERY),
    Route("GET", SERVERS + "/{server}", servers.show),
    Route("POST", SERVERS + "/{server}/action", servers.act, nova.SERVER_ACTION),

    Route("GET", "/v1/hosts", hosts.index, query=v1.HOST_QUERY),
    Route("GET", "/v1/hosts/{host}", hosts.show, query=v1.NOTHING),
    Route("DELETE", "/v1/hosts/{host}", hosts.forget),
    Route("GET", "/v1/hosts/{host}/vms", hosts.vms, query=v1.NOTHING),
    Route("POST", "/v1/hosts/{host}/maintenance", hosts.maintain, v1.MAINTENANCE),

    Route("POST", "/v1/plans", plans.create, v1.PLAN),
    Route("GET", "/v1/plans/{plan}", plans.show, query=v1.NOTHING),

    Route("GET", "/v1/operations", operations.index, query=v1.OPERATION_QUERY),
    Route("GET", OPERATION, operations.show, query=v1.NOTHING),
    Route("GET", OPERATION + "/events", operations.events, query=v1.EVENTS_QUERY),
    Route("POST", OPERATION + "/cancel", operations.cancel, v1.NOTHING),
    Route("POST", OPERATION + "/pause", operations.pause, v1.NOTHING),
    Route("POST", OPERATION + "/resume", operations.resume, v1.NOTHING),
    Route("POST", OPERATION + "/retry", operations.retry, v1.NOTHING),
    Route("POST", OPERATION + "/abandon", operations.abandon, v1.ABANDON),

    Route("GET", "/v1/aggregates/{aggregate}", v1_aggregates.show, query=v1.NOTHING),
    Route("POST", "/v1/aggregates/{aggregate}/roll", service.roll),
    Route("GET", "/v1/why", service.why),
    Route("GET", "/healthcheck", service.health),
)
