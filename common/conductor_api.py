"""What the API and other services say to the conductors: the client side of ``corral.conductor``.

One method per REST action; ``doc/rpc.md`` describes arguments and results.

1.0  aggregates, hosts, maintenance, plans, operations
1.1  services, hypervisors, VMs and their moves; host_forget; ``members`` of aggregate_list and _show
"""

from typing import Any

from common import errors, messages, rpc

#: what came with 1.1
SINCE_1_1 = (
    "service_list", "service_delete", "service_force_down", "host_forget",
    "hypervisor_list", "vm_list", "vm_show", "vm_migrate",
    "migration_list", "migration_show", "migration_abort",
)
#: what an endpoint of this version serves
METHODS = (
    "aggregate_list", "aggregate_create", "aggregate_show", "aggregate_update", "aggregate_delete",
    "aggregate_set_metadata", "aggregate_add_host", "aggregate_remove_host",
    "host_list", "host_show", "host_vms", "host_enable", "host_disable",
    "maintenance_start", "maintenance_stop",
    "plan_create", "plan_show",
    "operation_list", "operation_show", "operation_events",
    "operation_cancel", "operation_pause", "operation_resume", "operation_retry", "operation_abandon",
    *SINCE_1_1,
)

#: the version in which a method last changed, which is sent with it: an older conductor does what it knows
CHANGED = {**dict.fromkeys(METHODS, "1.0"),
           **dict.fromkeys(("aggregate_list", "aggregate_show", *SINCE_1_1), "1.1")}

#: seconds that one operation_events call may wait in a conductor
LONGEST_WAIT_S = 20.0


class ConductorAPI:
    """The one door to the conductors.

    ``context`` is ``{"request_id": str, "user": str, "user_id": str|None, "project_id": str|None,
    "idempotency_key": str|None}``.  With an idempotency key a mutation may be sent again: it
    happens once, and the first answer is given again; keys are those of a user in a project.
    Each call raises what the conductor refused with, or Unavailable.
    """

    def __init__(self, transport: Any, timeout_s: float = 60.0, attempts: int = 2) -> None:
        self._client = rpc.Client(transport, rpc.TOPIC_CONDUCTOR, messages.CONDUCTOR_VERSION, timeout_s)
        self._attempts = attempts

    def call(self, context: rpc.Context, method: str, **arguments: Any) -> Any:
        """Return the answer to ``method``, one of METHODS.

        A call without answer is sent again under its idempotency key (reads always may
        be).  Raises Unavailable when there is still none.
        """
        if method not in METHODS:
            raise errors.Bug(f"{method} is no method of the conductor")
        for _ in range(self._attempts):
            try:
                return self._client.call(context, method, version=CHANGED[method], **arguments)
            except errors.OutcomeUnknown:
                if not (context.get("idempotency_key") or method.endswith(("_list", "_show", "_vms", "_events"))):
                    break
        raise errors.Unavailable("The conductors did not answer in time; repeat the request with the same "
                                 "Idempotency-Key", code="no_answer")
