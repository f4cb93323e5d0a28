"""All commands, by name; nothing else."""

from cliff.command import Command

from conductor.cli import aggregates, hosts, missing, operations

COMMANDS: dict[str, type[Command]] = {
    "aggregate-list": aggregates.List,
    "aggregate-create": aggregates.Create,
    "aggregate-delete": aggregates.Delete,
    "aggregate-details": aggregates.Details,
    "aggregate-add-host": aggregates.AddHost,
    "aggregate-remove-host": aggregates.RemoveHost,
    "aggregate-set-metadata": aggregates.SetMetadata,
    "aggregate-update": aggregates.Update,
    "host-update": hosts.Update,
    "host-list": hosts.List,
    "host-show": hosts.Show,
    "host-declare-dead": missing.DeclareDead,
    "host-forget": hosts.Forget,
    "plan-show": hosts.ShowPlan,
    "operation-list": operations.List,
    "operation-show": operations.Show,
    "operation-watch": operations.Watch,
    "operation-cancel": operations.Cancel,
    "operation-pause": operations.Pause,
    "operation-resume": operations.Resume,
    "operation-retry": operations.Retry,
    "operation-abandon": operations.Abandon,
    "roll-start": missing.StartRoll,
    "roll-show": missing.ShowRoll,
    "why": missing.Why,
}
