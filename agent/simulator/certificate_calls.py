"""Calls about a host's certificates: reading the one that is presented, replacing the one that is not.

Making one is for whoever put `world.reissue` there; without TLS there is nobody, and these calls say so.
"""

from typing import TYPE_CHECKING

from agent.simulator import timing
from agent.simulator.call import LATER
from agent.simulator.certificate_records import keep, made_for
from agent.simulator.failure import Failure
from agent.simulator.reach import assert_reachable

if TYPE_CHECKING:
    from agent.simulator.call import Call
    from agent.simulator.world import World


def get_server_certificate(call: "Call", host: str) -> str:
    """Return the certificate that the machine presents, as PEM; without TLS there is none."""
    made = made_for(call.world.node_of_host(call.db, host), "host")
    if not made:
        raise Failure("NOT_IMPLEMENTED", "host.get_server_certificate without --tls")
    return str(made["pem"])


def refresh_server_certificate(call: "Call", host: str) -> object:
    """Replace the certificate that the machine uses inside its pool; the one that it presents stays (seen)."""
    node = assert_reachable(call, host)
    if call.world.reissue is None:
        raise Failure("NOT_IMPLEMENTED", "host.refresh_server_certificate without --tls")
    call.world.later(timing.CERTIFICATE_REFRESH, "certificate.refreshed", address=node.address, pool=call.node.pool,
                     task=call.defer())
    return LATER


def refreshed(world: "World", address: str, pool: int, task: str) -> None:
    """The new certificate is there, if the machine still is."""
    node = world.nodes[address]
    if not node.reachable:
        world.fail_task(pool, task, ["CANNOT_CONTACT_HOST", world.host_of(node)])
    elif world.reissue is None:  # the world goes on without TLS
        world.fail_task(pool, task, ["NOT_IMPLEMENTED", "host.refresh_server_certificate without --tls"])
    else:
        keep(world, node, "host_internal", world.reissue(node.name, address))
        world.finish_task(pool, task)


CALLS = {"host.get_server_certificate": get_server_certificate,
         "host.refresh_server_certificate": refresh_server_certificate}
STEPS = {"certificate.refreshed": refreshed}
