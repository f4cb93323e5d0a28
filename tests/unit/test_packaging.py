"""What is installed is whole: every file that is no module is named, and what is named is there."""

import configparser
import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ROOMS = ("agent", "common", "conductor")


def named(section: str) -> dict[str, list[str]]:
    """Return a section of setup.cfg: each name with the patterns that stand behind it."""
    parser = configparser.ConfigParser()
    parser.read(_ROOT / "setup.cfg", encoding="utf-8")
    return {name: value.replace(",", " ").split() for name, value in parser[section].items()}


def data_files() -> dict[Path, Path]:
    """Return the files that are installed beside the packages: where to, below the environment, and from where."""
    return {Path(folder) / path.name: path for folder, patterns in named("options.data_files").items()
            for pattern in patterns for path in _ROOT.glob(pattern)}


def test_every_file_of_a_room_that_is_no_module_is_installed_with_it() -> None:
    data = {path.relative_to(_ROOT) for room in _ROOMS for path in (_ROOT / room).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")}
    installed = {path.relative_to(_ROOT) for package, patterns in named("options.package_data").items()
                 for pattern in patterns for path in (_ROOT / package.replace(".", "/")).glob(pattern)}
    assert data and data == installed


def test_samples_units_worlds_and_pages_are_installed() -> None:
    wanted = {path for pattern in ("etc/corral/*", "etc/systemd/*", "etc/worlds/*", "doc/*.md")
              for path in _ROOT.glob(pattern)}
    assert set(data_files().values()) == wanted


def test_the_page_that_a_unit_names_is_where_the_daemon_is() -> None:
    for path in (_ROOT / "etc/systemd").iterdir():
        text = path.read_text(encoding="utf-8")
        (page,) = re.findall(r"^Documentation=file:(.+)$", text, re.MULTILINE)
        (command,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
        environment = Path(command).parents[1]
        assert Path(page).relative_to(environment) in data_files()
        assert Path(command).name in "\n".join(named("options.entry_points")["console_scripts"]).split()


def test_the_source_archive_has_what_a_checkout_has() -> None:
    kept = set((_ROOT / "MANIFEST.in").read_text(encoding="utf-8").split())
    assert {"doc", "etc", "tests", "tools", "constraints.txt", "ruff.toml", "tox.ini", "Makefile", ".ci/run"} <= kept
