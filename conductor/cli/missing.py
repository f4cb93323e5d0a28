"""Commands whose service isn't there yet: they take their arguments, say so and end with 1."""

import argparse

from conductor.cli.base import Speaking
from conductor.cli.client import FAILED, Refusal


class DeclareDead(Speaking):
    """Declare a host dead that you have powered off (not implemented yet)"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("host")
        parser.add_argument("--i-have-powered-it-off", action="store_true", required=True,
                            help="its VMs are started elsewhere: were it alive, they would run twice")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Refuse."""
        raise _not_yet("Declaring a host dead")


class StartRoll(Speaking):
    """Empty, reboot and restore all hosts of an aggregate in turn (not implemented yet)"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id", help="the aggregate's number")
        parser.add_argument("--plan", metavar="ID", help="run this plan, as it was approved")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Ask the API, which refuses."""
        self.client.post("v1", "aggregates", parsed_args.id, "roll")
        raise _not_yet("Showing a roll")


class ShowRoll(Speaking):
    """Show a roll (not implemented yet)"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("id", help="the roll's id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Refuse."""
        raise _not_yet("Showing a roll")


class Why(Speaking):
    """Say which one rule keeps a VM from a host (not implemented yet)"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("vm")
        parser.add_argument("host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Ask the API, which refuses."""
        self.client.get("v1", "why", vm=parsed_args.vm, host=parsed_args.host)
        raise _not_yet("Showing why")


def _not_yet(what: str) -> Refusal:
    return Refusal(f"{what} is not implemented yet", "not_implemented", FAILED)
