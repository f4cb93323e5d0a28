"""The commands about aggregates."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from conductor.cli.base import Listing, Showing, Speaking, waiting
from conductor.cli.client import USAGE, Answer, Json, Refusal
from conductor.cli.words import Members, Names, Pairs, Text

Shown = tuple[Sequence[str], Iterable[Any]]

PATH = ("v2.1", "os-aggregates")


def fields(aggregate: Json) -> Shown:
    """Return an aggregate's columns and values."""
    return (("id", "name", "availability_zone", "hosts", "metadata", "uuid", "created_at", "updated_at"),
            (aggregate["id"], Text(aggregate["name"]), Text(aggregate["availability_zone"]),
             Names(aggregate["hosts"]), Pairs(aggregate["metadata"]), aggregate["uuid"],
             Text(aggregate["created_at"]), Text(aggregate["updated_at"])))


class List(Listing):
    """List the aggregates"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--availability-zone", metavar="ZONE", help="only those of this zone")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask and return columns and rows."""
        found = self.client.get(*PATH, availability_zone=parsed_args.availability_zone)["aggregates"]
        return (("id", "name", "availability_zone", "hosts"),
                [(one["id"], Text(one["name"]), Text(one["availability_zone"]), Names(one["hosts"]))
                 for one in found])


class Create(Showing):
    """Create an aggregate: a resource pool, once it has hosts"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("name")
        parser.add_argument("availability_zone", nargs="?")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Create it and show it."""
        wanted: Json = {"name": parsed_args.name}
        if parsed_args.availability_zone is not None:
            wanted["availability_zone"] = parsed_args.availability_zone
        made = self.client.post(*PATH, body={"aggregate": wanted}).body["aggregate"]
        return fields(self.client.get(*PATH, made["id"])["aggregate"])


class Details(Showing):
    """Show an aggregate"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        return _with_id(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Show it."""
        found = self.client.get("v1", "aggregates", parsed_args.id)["aggregate"]
        heads, values = fields(found)
        return (*heads, "members", "foreign_hosts"), (*values, Members(found["members"]), Names(found["foreign"]))


class Delete(Speaking):
    """Delete an aggregate that has no hosts"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        return _with_id(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete it."""
        self.client.delete(*PATH, parsed_args.id)
        self.say(f"Aggregate {parsed_args.id} is deleted")


class Update(Showing):
    """Change an aggregate's name, and its zone if one is given"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = _with_id(super().get_parser(prog_name))
        parser.add_argument("name")
        parser.add_argument("availability_zone", nargs="?")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Change it and show it."""
        changes: Json = {"name": parsed_args.name}
        if parsed_args.availability_zone is not None:
            changes["availability_zone"] = parsed_args.availability_zone
        return fields(self.client.put(*PATH, parsed_args.id, body={"aggregate": changes}).body["aggregate"])


class SetMetadata(Showing):
    """Set metadata; a key without =value is removed, keys that are not named stay"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = _with_id(super().get_parser(prog_name))
        parser.add_argument("metadata", nargs="+", metavar="key=value")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Set it and show the aggregate."""
        metadata: dict[str, str | None] = {}
        for text in parsed_args.metadata:
            key, equals, value = text.partition("=")
            if not key or key in metadata:
                raise Refusal(f"{text!r} is no key=value with a key of its own", "bad_metadata", USAGE)
            metadata[key] = value if equals else None
        answer = _act(self, parsed_args.id, {"set_metadata": {"metadata": metadata}})
        return fields(answer.body["aggregate"])


class AddHost(Showing):
    """Add a host: it joins the aggregate's pool, the first one becomes its master"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = _with_id(super().get_parser(prog_name))
        parser.add_argument("host")
        waiting(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask for it, wait if wanted, and show the aggregate."""
        return _membership(self, parsed_args, {"add_host": {"host": parsed_args.host}})


class RemoveHost(Showing):
    """Remove a host that is in maintenance: it leaves the aggregate's pool"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = _with_id(super().get_parser(prog_name))
        parser.add_argument("host")
        parser.add_argument("--confirm-data-loss", action="store_true",
                            help="the disks on the host's local storage may be wiped")
        waiting(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask for it, wait if wanted, and show the aggregate."""
        wanted: Json = {"host": parsed_args.host}
        if parsed_args.confirm_data_loss:
            wanted["confirm_data_loss"] = True
        return _membership(self, parsed_args, {"remove_host": wanted})


def _with_id(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("id", help="the aggregate's number")
    return parser


def _act(command: Speaking, number: str, action: Json) -> Answer:
    return command.client.post(*PATH, number, "action", body=action)


def _membership(command: Speaking, parsed_args: argparse.Namespace, action: Json) -> Shown:
    answer = _act(command, parsed_args.id, action)
    if answer.operation is None:
        return fields(answer.body["aggregate"])
    if not parsed_args.wait:
        command.say(f"operation {answer.operation}")
        return fields(answer.body["aggregate"])
    command.await_end(answer.operation)
    return fields(command.client.get(*PATH, parsed_args.id)["aggregate"])
