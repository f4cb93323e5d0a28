"""The documents say what the code says: paths, commands, diagrams, codes.

It reads files and the commands' own parsers; it runs nothing.
"""

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import conductor_api
from conductor import states
from conductor.cli.commands import COMMANDS
from conductor.cli.main import Corral

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("doc/**/*.md")])
DECISIONS = sorted(ROOT.glob("doc/decisions/*.md"))

#: a path in backticks: with a folder or a known ending, neither a URL nor a pattern of a package's name
PATH = re.compile(r"`((?:[A-Za-z0-9_.-]+/)*[A-Za-z0-9_.-]+(?:/|\.(?:py|md|cfg|ini|txt|toml|json|yaml)))`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: a command in running text or in a block
COMMAND = re.compile(r"\bcorral ((?:aggregate|host|plan|operation|roll)-[a-z-]+|why)\b")
CODE = re.compile(r"`([A-Za-z_]+)`")


def words_of(name: str) -> str:
    """Return a document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    """Return a file's name as people write it."""
    return path.relative_to(ROOT).as_posix()


def rows_between(name: str, begin: str, end: str) -> set[str]:
    """Return all codes in the first columns of the tables between two lines of a document."""
    part = words_of(name).split(f"\n{begin}\n")[1].split(f"\n{end}\n")[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    return {code for cell in cells for code in CODE.findall(cell)} | set(CODE.findall(_sentences(part)))


def _sentences(part: str) -> str:
    return "\n".join(line for line in part.splitlines() if not line.startswith("|"))


def trees(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    """Return the syntax tree of every module in the rooms; the simulator speaks xapi's codes, not ours."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "simulator" not in path.parts:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def constants(node: ast.AST | None) -> set[str]:
    """Return the texts that an expression may have as its value; conditions in it are no values."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) | constants(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def codes_in(node: ast.AST) -> set[str]:
    """Return the error codes that one piece of code gives a name to."""
    if isinstance(node, ast.Call):
        found = {code for keyword in node.keywords if keyword.arg == "code" for code in constants(keyword.value)}
        if called(node) == "problem" and node.args:
            found |= constants(node.args[0])
        if called(node) == "Refusal" and len(node.args) > 1:
            found |= constants(node.args[1])
        return found
    if isinstance(node, ast.ClassDef):
        return {code for line in node.body if isinstance(line, ast.Assign | ast.AnnAssign)
                for target in (line.targets if isinstance(line, ast.Assign) else [line.target])
                if isinstance(target, ast.Name) and target.id == "code" for code in constants(line.value)}
    if isinstance(node, ast.Dict):
        return {code for key, value in zip(node.keys, node.values, strict=True)
                if constants(key) == {"code"} for code in constants(value)}
    return set()


def attentions_in(node: ast.AST) -> set[str]:
    """Return the codes of what a person should look at."""
    return constants(node.args[0]) if isinstance(node, ast.Call) and called(node) == "Attention" and node.args \
        else set()


def shown_commands() -> list[tuple[str, str]]:
    """Return every whole command line ``corral ...`` in a block, with its document."""
    found = []
    for path in DOCUMENTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.match(r"(    |\$ )\s*corral [a-z]", line):
                found.append((name_of(path), line.removeprefix("$ ").strip()))
    return found


def test_the_diagrams_are_what_the_tables_print() -> None:
    shown = [body for kind, body in FENCE.findall(words_of("ARCHITECTURE.md")) if kind == "mermaid"]
    assert shown == [states.diagram(states.OPERATION) + "\n", states.diagram(states.TASK) + "\n"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_that_is_named_or_linked_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = [ROOT / name for name in PATH.findall(text)]
    linked = [path.parent / name for name in LINK.findall(FENCE.sub("", text))]
    assert not [str(file) for file in (*named, *linked) if not file.exists()]


def test_the_documents_that_a_newcomer_needs_are_there_and_short() -> None:
    assert len(words_of("README.md").splitlines()) < 120
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "STACK.md", "doc/rpc.md",
            "doc/operations.md", "doc/simulator.md"} <= {name_of(path) for path in DOCUMENTS}
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 60 for path in DECISIONS)


def test_every_document_is_linked_from_another() -> None:
    linked = {(path.parent / name).resolve() for path in DOCUMENTS
              for name in LINK.findall(path.read_text(encoding="utf-8"))}
    assert not [name_of(path) for path in DOCUMENTS if path.resolve() not in linked and path.name != "README.md"]


def test_every_decision_is_linked_from_the_architecture_by_its_title() -> None:
    text = words_of("ARCHITECTURE.md")
    titles = {name_of(path): path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
              for path in DECISIONS}
    assert titles and not [name for name, title in titles.items() if f"[{title}]({name})" not in text]
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_every_command_that_is_shown_exists() -> None:
    shown = {command for path in DOCUMENTS for command in COMMAND.findall(path.read_text(encoding="utf-8"))}
    assert "host-update" in shown and not shown - set(COMMANDS)


@pytest.mark.parametrize("document, line", shown_commands())
def test_every_command_line_that_is_shown_is_accepted(document: str, line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    parser: argparse.ArgumentParser = COMMANDS[name](Corral(None, None, {}), argparse.Namespace()).get_parser(name)
    parser.parse_args(words)        # ends with SystemExit when an option or a value is not there


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", words_of("Makefile"), re.MULTILINE))
    shown = {target for path in DOCUMENTS
             for target in re.findall(r"(?:`|^    )make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert {"demo", "test"} <= shown and not shown - targets


def test_every_console_script_that_is_shown_is_installed() -> None:
    scripts = set(re.findall(r"^    (corral[a-z-]*) = ", words_of("setup.cfg"), re.MULTILINE))
    assert "corral" in scripts
    shown = {name for path in DOCUMENTS
             for name in re.findall(r"\b(corral-(?!inproc|state|sim\b)[a-z]+)\b", path.read_text(encoding="utf-8"))}
    assert not shown - scripts


def test_every_rpc_method_is_described() -> None:
    described = set(CODE.findall(words_of("doc/rpc.md")))
    assert not set(conductor_api.METHODS) - described


def test_every_error_code_is_described_and_none_that_is_gone() -> None:
    raised = {code for _, tree in trees("conductor", "common", "agent") for node in ast.walk(tree)
              for code in codes_in(node)}
    described = rows_between("doc/operations.md", "## Error codes", "## Running the daemons")
    assert "plan_changed" in raised
    # "withdrawn" ends an attempt within its agent and is told to nobody.
    missing = raised - {"withdrawn"} - described - planner_codes()
    assert not missing
    own = {code for code in described if code.islower() and "_" in code}
    texts = {text for _, tree in trees("conductor", "common", "agent") for node in ast.walk(tree)
             for text in constants(node)}
    gone = own - texts
    assert not gone


def test_every_reason_for_attention_is_described() -> None:
    given = {code for _, tree in trees("conductor/operations") for node in ast.walk(tree)
             for code in attentions_in(node)}
    described = rows_between("doc/operations.md", "## Attention", "## Exit codes of `corral`")
    assert "no_plan" in given and not given - described


def planner_codes() -> set[str]:
    """Return the codes of blockers: they are xapi's, or made in its fashion."""
    return {text for _, tree in trees("conductor/plan") for node in ast.walk(tree) for text in constants(node)
            if re.fullmatch("[A-Z]+(_[A-Z]+)+", text)}


def test_every_blocker_is_described() -> None:
    described = rows_between("doc/operations.md", "## Why a VM can't be moved", "## Error codes")
    assert "HOST_FOREIGN" in described and not planner_codes() - described


@pytest.mark.parametrize("kind", [states.Operation, states.Task])
def test_every_state_stands_in_the_documents(kind: type[states.Operation] | type[states.Task]) -> None:
    text = words_of("ARCHITECTURE.md") + words_of("doc/operations.md")
    assert not [state for state in kind if str(state) not in text]
