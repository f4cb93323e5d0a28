"""What stands in the conductor's file reaches the engine: every number, and whether aggregates are backed by pools."""

from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from common import config
from conductor.build import settings_from
from conductor.operations.settings import Settings

#: the groups that are the engine's; of [agents], what is the door's
GROUPS = ("operations", "agents", "planner", "aggregates")
DOORS = {"agents.require_mac", "agents.keys_file"}


def loaded(folder: Path, text: str = "") -> cfg.ConfigOpts:
    """Return a conductor's configuration."""
    path = folder / "corral-conductor.conf"
    path.write_text(text)
    conf = cfg.ConfigOpts()
    config.load(conf, "corral-conductor", ["--config-file", str(path)], "conductor")
    return conf


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert settings_from(loaded(tmp_path)) == Settings()


def another(value: Any) -> Any:
    """Return a value of the same kind that an option may have instead."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.25
        case list():
            return [*value, 40.0]
    return "another"


@pytest.mark.parametrize("value, backed", [("true", True), ("false", False)])
def test_the_file_says_whether_aggregates_are_backed_by_pools(tmp_path: Path, value: str, backed: bool) -> None:
    conf = loaded(tmp_path, f"[aggregates]\npool_backed_by_default = {value}\n")
    assert settings_from(conf).pool_backed_by_default is backed


def test_every_option_of_the_engine_changes_its_settings(tmp_path: Path) -> None:
    conf = loaded(tmp_path)
    ignored = set()
    for group in GROUPS:
        for name in conf[group]:
            value = conf[group][name]
            conf.set_override(name, another(value), group=group)
            if settings_from(conf) == Settings():
                ignored.add(f"{group}.{name}")
            conf.clear_override(name, group=group)
    assert ignored == DOORS
