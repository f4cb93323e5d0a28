"""The shapes of ``/v1``; ``doc/rpc.md`` says what the members mean."""

from conductor.api.schemas.answers import (
    ANY_OBJECT,
    COUNT,
    COUNT_OR_NULL,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    YES_NO,
    YES_NO_OR_NULL,
    grows,
    many,
    one_of,
    or_null,
    ref,
)
from conductor.api.schemas.fields import Schema

_MOVE = {"position": COUNT, "vm": TEXT, "vm_name": TEXT_OR_NULL, "source": TEXT, "destination": TEXT,
         "memory_bytes": COUNT_OR_NULL, "start_s": {"type": ["number", "null"]},
         "end_s": {"type": ["number", "null"]}}

SHAPES: dict[str, Schema] = {
    "Error": grows(error=grows(code=TEXT, message=TEXT, details=ANY_OBJECT, request_id=TEXT)),
    "Host": grows(
        name=TEXT, uuid=TEXT, address=TEXT, zone=TEXT, wanted=one_of("serving", "disabled", "maintenance"),
        state=one_of("serving", "disabled", "draining", "in_maintenance", "restoring", "joining", "leaving",
                     "quarantined", "unknown"),
        reason=TEXT_OR_NULL, enabled=YES_NO_OR_NULL, live=YES_NO_OR_NULL, agent=one_of("up", "down"),
        agent_version=TEXT_OR_NULL, last_sync_at=TIME_OR_NULL, trouble=or_null(ANY_OBJECT), role=TEXT,
        aggregate=or_null(grows(id=COUNT, name=TEXT)), pool=TEXT_OR_NULL, master=YES_NO, operation=TEXT_OR_NULL,
        owner=TEXT_OR_NULL, epoch=COUNT, vms=COUNT, memory_total_bytes=COUNT_OR_NULL,
        memory_free_bytes=COUNT_OR_NULL, cpus=COUNT_OR_NULL, version=TEXT, product=TEXT),
    "Vm": grows(
        uuid=TEXT, name=TEXT, power_state=TEXT, host=TEXT_OR_NULL, home=TEXT_OR_NULL, memory_bytes=COUNT, vcpus=COUNT,
        hindrances=many(many(TEXT)), moving_to=TEXT_OR_NULL),
    "PlannedMove": grows(**_MOVE),
    "Move": grows(**_MOVE, task=TEXT, state=TEXT, progress=NUMBER, started_at=TIME_OR_NULL, ended_at=TIME_OR_NULL,
                  error=or_null(ANY_OBJECT)),
    "Blocker": grows(code=TEXT, vm=TEXT_OR_NULL, vm_name=TEXT_OR_NULL, host=TEXT_OR_NULL, message=TEXT,
                     help=TEXT_OR_NULL),
    "Plan": grows(
        id=TEXT, host=TEXT, wanted=one_of("enable", "disable", "move"), created_at=TIME, feasible=YES_NO,
        moves=many(ref("PlannedMove")), eta=grows(low_s=NUMBER, likely_s=NUMBER, high_s=NUMBER),
        left=many(ref("Blocker")), operation=TEXT_OR_NULL),
    "Operation": grows(
        id=TEXT, kind=TEXT, state=one_of("planning", "running", "paused", "cancelling", "failing", "succeeded",
                                         "cancelled", "failed"),
        host=TEXT_OR_NULL, aggregate=COUNT_OR_NULL, plan=TEXT_OR_NULL,
        attention=or_null(grows(code=TEXT, message=TEXT, since=TIME_OR_NULL)), error=or_null(ANY_OBJECT),
        result=or_null(ANY_OBJECT), progress=grows(moves_total=COUNT, moves_done=COUNT, moves_failed=COUNT,
                                                   moves_in_flight=COUNT),
        moves=many(ref("Move")), tasks=many(ANY_OBJECT), user=TEXT, reason=TEXT_OR_NULL, created_at=TIME,
        updated_at=TIME, ended_at=TIME_OR_NULL, last_event=COUNT,
        actions=many(one_of("cancel", "pause", "resume", "retry", "abandon"))),
    "Event": grows(
        n=COUNT, at=TIME, subject=one_of("operation", "task"), task=TEXT_OR_NULL, task_kind=TEXT_OR_NULL, state=TEXT,
        event=TEXT, next=TEXT, why=TEXT, detail=ANY_OBJECT),
    "Aggregate": grows(
        id=COUNT, uuid=TEXT, name=TEXT, availability_zone=TEXT_OR_NULL, hosts=many(TEXT), metadata=ANY_OBJECT,
        created_at=TIME, updated_at=TIME_OR_NULL, deleted=YES_NO, deleted_at=TIME_OR_NULL, pool_backed=YES_NO,
        pool=TEXT_OR_NULL, foreign=many(TEXT), members=many(grows(
            host=TEXT, state=one_of("joining", "member", "leaving"), adopted=YES_NO, master=YES_NO,
            operation=TEXT_OR_NULL))),
}

HEALTH = grows(status=one_of("ok"))
DOCUMENT = grows(openapi=TEXT, paths=ANY_OBJECT)
HOSTS = grows(hosts=many(ref("Host")))
HOST = grows(host=ref("Host"))
VMS = grows(vms=many(ref("Vm")))
CHANGED = grows(host=ref("Host"), operation=or_null(ref("Operation")), plan=or_null(ref("Plan")),
                maintenance_mode=one_of("entering_maintenance", "on_maintenance", "leaving_maintenance",
                                        "off_maintenance"))
PLAN = grows(plan=ref("Plan"))
OPERATIONS = grows(operations=many(ref("Operation")))
OPERATION = grows(operation=ref("Operation"))
EVENTS = grows(operation=ref("Operation"), events=many(ref("Event")))
AGGREGATE = grows(aggregate=ref("Aggregate"))
