"""The commands about operations: what is being done, and what can be asked of it."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from conductor.cli import following, words
from conductor.cli.base import Listing, Showing, Speaking
from conductor.cli.client import Json
from conductor.cli.words import Names, Short, Text

Shown = tuple[Sequence[str], Iterable[Any]]

PATH = ("v1", "operations")


class Progress(FormattableColumn[Any]):
    """The counts for programs, "3 of 8 moves" for people."""

    def human_readable(self) -> str:
        """Return how far it is."""
        told = self._value
        if not told["moves_total"]:
            return "-"
        failed = f", {told['moves_failed']} failed" if told["moves_failed"] else ""
        return f"{told['moves_done']} of {told['moves_total']} moves{failed}"


class Moves(FormattableColumn[Any]):
    """The moves: whole for programs, a line each for people."""

    def human_readable(self) -> str:
        """Return a small table."""
        if not self._value:
            return "-"
        return words.table(("#", "VM", "from", "to", "memory", "state", "done"), [
            # Counted as in the plan; their positions count the operation's other tasks as well.
            (str(number), words.safe(move["vm_name"]), words.safe(move["source"]),
             words.safe(move["destination"]), words.gib(move["memory_bytes"]), words.safe(move["state"]),
             f"{(move['progress'] or 0) * 100:.0f} %") for number, move in enumerate(self._value, 1)])


class List(Listing):
    """List operations, the newest first"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--host", help="only those about this host")
        parser.add_argument("--aggregate", metavar="ID", help="only those about this aggregate")
        parser.add_argument("--state", help="only those in this state, e.g. running")
        parser.add_argument("--active", action="store_true", help="only those that have not ended")
        parser.add_argument("--limit", type=int, metavar="N", help="no more than so many")
        parser.add_argument("--marker", metavar="ID", help="only those older than this one")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask and return columns and rows."""
        found = self.client.get(
            *PATH, host=parsed_args.host, aggregate=parsed_args.aggregate, state=parsed_args.state,
            active="true" if parsed_args.active else None, limit=parsed_args.limit, marker=parsed_args.marker)
        return (("id", "kind", "state", "host", "progress", "attention", "created_at", "ended_at"),
                [(Text(one["id"]), Text(one["kind"]), Text(one["state"]), Text(one["host"]),
                  Progress(one["progress"]), Short(one["attention"], "code"), Text(one["created_at"]),
                  Text(one["ended_at"])) for one in found["operations"]])


def fields(operation: Json) -> Shown:
    """Return an operation's columns and values."""
    plain = ("id", "kind", "state", "host", "aggregate", "plan", "user", "reason", "created_at", "updated_at",
             "ended_at")
    shown: dict[str, Any] = {name: Text(operation[name]) for name in plain}
    shown.update(
        attention=Short(operation["attention"], "message"), error=Short(operation["error"], "message"),
        progress=Progress(operation["progress"]), moves=Moves(operation["moves"]),
        can=Names(operation["actions"]))
    return tuple(shown), tuple(shown.values())


class Show(Showing):
    """Show an operation with its moves; --timeline: everything that happened"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = _with_id(super().get_parser(prog_name))
        parser.add_argument("--timeline", action="store_true", help="also every event, with its reason")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Show it."""
        if not parsed_args.timeline:
            return fields(self.client.get(*PATH, parsed_args.id)["operation"])
        told = self.client.get(*PATH, parsed_args.id, "events")
        names, values = fields(told["operation"])
        return (*names, "timeline"), (*values, Timeline(told["events"], words.subjects(told["operation"])))


class Timeline(FormattableColumn[Any]):
    """Events: whole for programs, a line each for people."""

    def __init__(self, events: list[Json], about: dict[str, str]) -> None:
        super().__init__(events)
        self._about = about

    def human_readable(self) -> str:
        """Return a line for each event."""
        return "\n".join(words.event(event, self._about) for event in self._value) or "-"


class Watch(Speaking):
    """Follow an operation to its end; Ctrl-C leaves it running"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        return _with_id(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print each event; live bars on a terminal."""
        try:
            with following.display(self.app.stdout, following.Lines(self.app.stdout)) as (shown, wait_s):
                operation = following.follow(self.client, parsed_args.id, shown, wait_s)
        except KeyboardInterrupt:
            raise following.detached(parsed_args.id) from None
        print(following.ending(operation), file=self.app.stdout)
        return following.exit_status(operation)


class Asking(Showing):
    """A command that asks one thing of an operation and shows how it stands."""

    action = ""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        return _with_id(super().get_parser(prog_name))

    def body(self, parsed_args: argparse.Namespace) -> Json | None:
        """Return what to send along."""
        return None

    def take_action(self, parsed_args: argparse.Namespace) -> Shown:
        """Ask, and show the operation."""
        answer = self.client.post(*PATH, parsed_args.id, self.action, body=self.body(parsed_args))
        return fields(answer.body["operation"])


class Cancel(Asking):
    """Cancel an operation: what is in flight ends first, then the host goes back into service"""

    action = "cancel"


class Pause(Asking):
    """Pause an operation: nothing new is begun"""

    action = "pause"


class Resume(Asking):
    """Let a paused operation go on"""

    action = "resume"


class Retry(Asking):
    """Try again what an operation is waiting with for a person's attention"""

    action = "retry"


class Abandon(Asking):
    """Give an operation up: its host stays disabled, in quarantine"""

    action = "abandon"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--reason", required=True, help="why; it is recorded")
        return parser

    def body(self, parsed_args: argparse.Namespace) -> Json:
        """Return the reason."""
        return {"reason": parsed_args.reason}


def _with_id(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("id", help="the operation's id")
    return parser
