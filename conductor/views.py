"""The RPC methods behind Nova's API beside aggregates and hosts; each is one call below, and decides nothing.

It knows neither HTTP nor Nova's forms.
"""

from common.rpc import Context
from conductor import guests, services
from conductor.db import operations
from conductor.db.models import Operation
from conductor.manager import Conductor, Filters, user_of
from conductor.operations import relocate
from conductor.present import Json, Presenter


class Views(Conductor):
    """What a conductor serves: all of ``Conductor``, and services, hypervisors, VMs and their moves."""

    # Reads.

    def service_list(self, context: Context, host: str | None = None, binary: str | None = None) -> Json:
        """Return agents and conductors; those of one host, or of one binary's name."""
        now = self._engine.clock.now()
        return self._read(lambda show, _: {"services": [
            one for one in services.every(show, now)
            if host in (None, one["host"]) and binary in (None, one["binary"])]})

    def hypervisor_list(self, context: Context) -> Json:
        """Return every host with what runs on it."""
        return self._read(lambda show, _: {"hypervisors": guests.hypervisors(show)})

    def vm_list(self, context: Context, name: str | None = None, host: str | None = None) -> Json:
        """Return the VMs of all pools; of one name, or on one host."""
        return self._read(lambda _, s: {"vms": guests.vms(s, name=name, host=host)})

    def vm_show(self, context: Context, vm: str) -> Json:
        """Return one VM."""
        return self._read(lambda _, s: guests.vm(s, vm))

    def migration_list(self, context: Context, filters: Filters | None = None) -> Json:
        """Return the newest moves of VMs, newest first."""
        return self._read(lambda _, s: {"migrations": guests.migrations(s, filters or {})})

    def migration_show(self, context: Context, id: int) -> Json:
        """Return one move."""
        return self._read(lambda _, s: guests.migration(s, id))

    # Changes.

    def service_delete(self, context: Context, id: int) -> Json:
        """Forget a service that is down: an agent's with its host."""
        return self._change(context, "service_delete", [id], lambda tx: services.delete(tx, id), lambda show, _: {})

    def service_force_down(self, context: Context, host: str, forced_down: bool) -> Json:
        """Record that a host is down, or not any more, as an operator says."""
        return self._change(context, "service_force_down", [host, forced_down],
                            lambda tx: services.force_down(tx, host, forced_down),
                            lambda show, row: services.agent(show, row, services.zones(show.session)))

    def host_forget(self, context: Context, host: str) -> Json:
        """Forget a host whose agent is down, so that another machine may have its name."""
        return self._change(context, "host_forget", [host], lambda tx: services.forget(tx, host), lambda show, _: {})

    def vm_migrate(self, context: Context, vm: str, host: str | None = None) -> Json:
        """Begin to move one VM, to ``host`` or where it fits best."""
        def show(presenter: Presenter, operation: Operation) -> Json:
            return {"vm": guests.vm(presenter.session, vm), "operation": presenter.operation(operation),
                    "plan": presenter.plan(operations.plan(presenter.session, str(operation.plan_id)))}
        return self._change(context, "vm_migrate", [vm, host], lambda tx: relocate.vm_migrate(
            tx, guests.pool_of(tx.session, vm), vm, host, user_of(context)), show)

    def migration_abort(self, context: Context, vm: str, id: int) -> Json:
        """Cancel one move of a VM."""
        return self._change(context, "migration_abort", [vm, id],
                            lambda tx: relocate.abort(tx, vm, id, user_of(context)),
                            lambda show, row: show.operation(row))
