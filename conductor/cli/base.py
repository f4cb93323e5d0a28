"""What all commands have in common: the client, refusals as sentences, waiting.

It knows cliff; it knows no noun.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from conductor.cli import following, words
from conductor.cli.client import Client, Json, Refusal


class Speaking(Command):
    """A command that asks the API; a refusal becomes a sentence and an exit status."""

    exit_status = 0

    @property
    def client(self) -> Client:
        """The API.  Raises Refusal when what was given can't say who asks, or whom."""
        return self.app.client  # type: ignore[attr-defined,no-any-return]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; return its exit status.  Refusals never show a traceback."""
        try:
            return super().run(parsed_args) or self.exit_status
        except Refusal as exc:
            self.say(words.refusal(exc))
            return exc.exit_status

    def say(self, text: str) -> None:
        """Write to standard error, for people; standard output belongs to the result."""
        self.app.stdout.flush()
        print(text, file=self.app.stderr or sys.stderr, flush=True)

    def await_end(self, operation_id: str) -> Json:
        """Follow an operation to its end or to attention; set the exit status; return the operation.

        Raises Refusal with the exit status 130 on Ctrl-C.
        """
        stream = self.app.stderr or sys.stderr
        try:
            with following.display(stream, following.Silent()) as (shown, wait_s):
                operation = following.follow(self.client, operation_id, shown, wait_s, to_the_end=False)
        except KeyboardInterrupt:
            raise following.detached(operation_id) from None
        self.exit_status = following.exit_status(operation)
        self.say(following.ending(operation))
        return operation


class Showing(Speaking, ShowOne):
    """A command that shows one thing."""

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Print it; a table for people has words as heads."""
        return super().produce_output(parsed_args, _heads(parsed_args, column_names), data)


class Listing(Speaking, Lister):
    """A command that lists things."""

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Print them; a table for people has words as heads, and heads even when there is nothing."""
        parsed_args.print_empty = True
        return super().produce_output(parsed_args, _heads(parsed_args, column_names), data)


def _heads(parsed_args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    chosen = parsed_args.columns or getattr(parsed_args, "sort_columns", None)
    if parsed_args.formatter != "table" or chosen:
        return list(names)
    return [name.removesuffix("_bytes").replace("_", " ") for name in names]


def waiting(parser: argparse.ArgumentParser) -> None:
    """Add ``--wait`` to a command that begins an operation."""
    parser.add_argument("--wait", action="store_true",
                        help="wait until the operation has ended; Ctrl-C leaves it running")
