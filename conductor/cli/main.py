"""corral: finds the command and runs it."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

from cliff.app import App
from cliff.commandmanager import CommandManager

from conductor.cli.access import add_options, chosen
from conductor.cli.client import USAGE, Client
from conductor.cli.commands import COMMANDS

DEFAULT_ENDPOINT = "http://127.0.0.1:8774"


class Corral(App):
    """The application around the commands."""

    NAME = "corral"

    def __init__(self, stdout: TextIO | None, stderr: TextIO | None, environ: Mapping[str, str]) -> None:
        self._environ = environ
        manager = CommandManager("corral.commands")
        for name, command in COMMANDS.items():
            manager.add_command(name, command)
        super().__init__("Host aggregates backed by resource pools, and maintenance with no downtime.",
                         _version(), manager, stdout=stdout, stderr=stderr, deferred_help=True)

    def build_option_parser(self, description: str | None, version: str | None,
                            argparse_kwargs: object = None) -> argparse.ArgumentParser:
        """Return the parser of the options that go before every command."""
        parser = super().build_option_parser(description, version, {"prog": "corral", "allow_abbrev": False})
        given = self._environ.get("CORRAL_ENDPOINT")
        parser.add_argument(
            "--endpoint", metavar="URL", default=given,
            help="where the API is (environment: CORRAL_ENDPOINT; "
                 f"now {given or f'that of the catalogue with Keystone, else {DEFAULT_ENDPOINT}'})")
        add_options(parser)
        return parser

    @cached_property
    def client(self) -> Client:
        """The API, asked by whom options and environment name.  Raises Refusal."""
        who = chosen(self.options, self._environ)
        return Client(self.options.endpoint or who.endpoint() or DEFAULT_ENDPOINT, who)

    def configure_logging(self) -> None:
        """Log to standard error, once: a process may run several commands."""
        if not logging.getLogger().handlers:
            super().configure_logging()
        # which formatters are installed is nobody's question
        logging.getLogger("stevedore").setLevel(logging.WARNING)

    def print_help_if_requested(self) -> None:
        """Print the help with one line per command, and end."""
        if self.options.deferred_help:
            width = max(map(len, COMMANDS))
            lines = [f"  {name:{width}}  {command.__doc__}" for name, command in COMMANDS.items()]
            print(self.parser.format_help(), "commands (corral help <command> says more):", *lines,
                  sep="\n", file=self.stdout)
            raise SystemExit(0)


def main(argv: list[str] | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None,
         environ: Mapping[str, str] = os.environ) -> int:
    """Run one command; return its exit status.  Without a command, show the help."""
    given = sys.argv[1:] if argv is None else argv
    app = Corral(stdout, stderr, environ)
    for word in given:
        if not word.isascii() and not _is_text(word):
            print(f"error: {word!a} is no text in this locale's encoding; a UTF-8 locale has all characters (usage)",
                  file=stderr or sys.stderr)
            return USAGE
    try:
        return app.run(given or ["--help"])
    except SystemExit as exc:
        # argparse ends so, with 2 on wrong usage
        return exc.code if isinstance(exc.code, int) else 0


def _is_text(word: str) -> bool:
    try:
        return bool(word.encode())
    except UnicodeEncodeError:
        # Bytes that the locale's encoding does not know come as halves of characters.
        return False


def _version() -> str:
    try:
        return version("corral")
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
