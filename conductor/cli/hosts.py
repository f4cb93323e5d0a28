"""The commands about hosts: what they are, and their maintenance with its plan."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from conductor.cli import words
from conductor.cli.base import Listing, Showing, Speaking, waiting
from conductor.cli.client import USAGE, Json, Refusal
from conductor.cli.words import Short, Size, Text

Shown = tuple[Sequence[str], Iterable[Any]]


class List(Listing):
    """List the hosts with their state"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--zone", help="only those of this availability zone")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask and return columns and rows."""
        found = self.client.get("v1", "hosts", zone=parsed_args.zone)["hosts"]
        return (("name", "state", "wanted", "aggregate", "zone", "agent", "vms", "memory_total_bytes",
                 "memory_free_bytes", "operation"),
                [(Text(one["name"]), Text(one["state"]), Text(one["wanted"]), Short(one["aggregate"], "name"),
                  Text(one["zone"]), Text(one["agent"]), one["vms"], Size(one["memory_total_bytes"]),
                  Size(one["memory_free_bytes"]), Text(one["operation"])) for one in found])


class Vms(FormattableColumn[Any]):
    """The VMs on a host and those that have left it for a while: whole for programs, a line each for people."""

    def human_readable(self) -> str:
        """Return a small table."""
        if not self._value:
            return "-"
        return words.table(("name", "state", "memory", "runs on", "home", "can't be moved because"), [
            (words.safe(vm["name"]), words.safe(vm["power_state"]), words.gib(vm["memory_bytes"]),
             words.safe(vm["host"]), words.safe(vm["home"]),
             "; ".join(words.safe(why) for _, why in vm["hindrances"]) or "-")
            for vm in self._value])


class Show(Showing):
    """Show a host and its VMs"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Show it."""
        host = self.client.get("v1", "hosts", parsed_args.host)["host"]
        vms = self.client.get("v1", "hosts", parsed_args.host, "vms")["vms"]
        shown: dict[str, Any] = {name: Size(value) if name.endswith("_bytes") else Text(value)
                                 for name, value in host.items()}
        shown.update(aggregate=Short(host["aggregate"], "name"), trouble=Short(host["trouble"], "message"),
                     vms=host["vms"], vm_list=Vms(vms))
        return tuple(shown), tuple(shown.values())


class Update(Showing):
    """Start or stop a host's maintenance, or only enable or disable it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--maintenance", choices=("enable", "disable"),
                          help="enable: move all VMs away and keep the host empty; "
                               "disable: back into service, its VMs come home")
        what.add_argument("--status", choices=("enable", "disable"),
                          help="only let it take VMs, or not; no VM is moved")
        parser.add_argument("--plan", metavar="ID", help="run this plan, as it was approved")
        parser.add_argument("--dry-run", action="store_true", help="make and show the plan, do nothing")
        parser.add_argument("--if-changed", choices=("stop", "replan"),
                            help="when the plan is no longer true (default: stop with --plan, else replan)")
        parser.add_argument("--allow-partial", action="store_true",
                            help="move what can be moved even if some VMs have to stay")
        waiting(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask for it, print the plan, wait if wanted, and show how the host stands."""
        options = _options(parsed_args)
        if parsed_args.status:
            if options or parsed_args.plan is not None or parsed_args.dry_run:
                raise Refusal("--plan, --dry-run, --if-changed and --allow-partial go with --maintenance",
                              "usage", USAGE)
            return self._status(parsed_args)
        if parsed_args.dry_run:
            return self._preview(parsed_args, options)
        body: Json = {"wanted": parsed_args.maintenance, "options": options}
        if parsed_args.plan is not None:
            body["plan"] = parsed_args.plan
        answer = self.client.post("v1", "hosts", parsed_args.host, "maintenance", body=body)
        told = answer.body
        self._print_plan(parsed_args, told["plan"])
        mode = told["maintenance_mode"]
        ended = self._wait(parsed_args, answer.operation)
        if ended and ended["state"] == "succeeded":
            mode = "on_maintenance" if ended["kind"] == "maintenance_start" else "off_maintenance"
        host = self.client.get("v1", "hosts", parsed_args.host)["host"] if ended else told["host"]
        return _standing(host, mode, told["operation"] if ended is None else ended, told["plan"])

    def _status(self, parsed_args: argparse.Namespace) -> Shown:
        answer = self.client.put("v2.1", "os-hosts", parsed_args.host, body={"status": parsed_args.status})
        ended = self._wait(parsed_args, answer.operation)
        told = answer.body
        return (("host", "maintenance_mode", "status", "operation"),
                (Text(told["host"]), told["maintenance_mode"], told["status"],
                 Text(answer.operation if ended is None else ended["id"])))

    def _preview(self, parsed_args: argparse.Namespace, options: Json) -> Shown:
        if parsed_args.plan is not None:
            raise Refusal("--dry-run makes a new plan; plan-show shows the one that is there", "usage", USAGE)
        body = {"host": parsed_args.host, "wanted": parsed_args.maintenance, "options": options}
        plan = self.client.post("v1", "plans", body=body).body["plan"]
        self._print_plan(parsed_args, plan)
        self.say(f"Nothing is done. To run this plan: corral host-update --maintenance "
                 f"{parsed_args.maintenance} {words.safe(plan['host'])} --plan {words.safe(plan['id'])}")
        return plan_fields(plan)

    def _wait(self, parsed_args: argparse.Namespace, operation_id: str | None) -> Json | None:
        if operation_id is None:
            return None
        if not parsed_args.wait:
            self.say(f"operation {words.safe(operation_id)}")
            return None
        return self.await_end(operation_id)

    def _print_plan(self, parsed_args: argparse.Namespace, plan: Json | None) -> None:
        if plan is not None and parsed_args.formatter == "table":
            print(words.plan(plan), file=self.app.stdout, flush=True)


class Forget(Speaking):
    """Forget a host whose agent is down, so that another machine may come by its name"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Ask for it, and say that it was done."""
        self.client.delete("v1", "hosts", parsed_args.host)
        self.say(f"Host {words.safe(parsed_args.host)} is forgotten")


class ShowPlan(Showing):
    """Show a plan: every move, its time and memory, and what stays"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Show it."""
        plan = self.client.get("v1", "plans", parsed_args.id)["plan"]
        if parsed_args.formatter == "table":
            print(words.plan(plan), file=self.app.stdout, flush=True)
        return plan_fields(plan)


class Counted(FormattableColumn[Any]):
    """A whole list for programs, its length for people."""

    def human_readable(self) -> str:
        """Return how many there are."""
        return str(len(self._value))


class Eta(FormattableColumn[Any]):
    """A range of seconds for programs, a time for people."""

    def human_readable(self) -> str:
        """Return the likely length and its range."""
        if not self._value:
            return "-"
        return (f"{words.seconds(self._value['likely_s'])} ({words.seconds(self._value['low_s'])} to "
                f"{words.seconds(self._value['high_s'])})")


def plan_fields(plan: Json) -> Shown:
    """Return a plan's columns and values."""
    return (("id", "host", "wanted", "created_at", "moves", "eta", "left", "operation"),
            (Text(plan["id"]), Text(plan["host"]), Text(plan["wanted"]), Text(plan["created_at"]),
             Counted(plan["moves"]), Eta(plan["eta"]), Counted(plan["left"]), Text(plan["operation"])))


def _options(parsed_args: argparse.Namespace) -> Json:
    options: Json = {}
    if parsed_args.if_changed:
        options["if_changed"] = parsed_args.if_changed
    if parsed_args.allow_partial:
        options["allow_partial"] = True
    return options


def _standing(host: Json, mode: str, operation: Json | None, plan: Json | None) -> Shown:
    return (("host", "maintenance_mode", "status", "operation", "operation_state", "plan"),
            (Text(host["name"]), Text(mode), "enabled" if host["enabled"] else "disabled",
             Text(operation and operation["id"]), Text(operation and operation["state"]), Short(plan, "id")))
