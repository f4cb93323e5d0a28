"""The demo's story by own processes on the real parts, each claim checked past Corral at the hosts."""

from pathlib import Path

import pytest

from tools.demo import Demo, story
from tools.deployment import Deployment


@pytest.mark.parametrize(("concurrency", "database"), [("threads", "postgresql"), ("eventlet", "mariadb")])
def test_the_story_of_aggregates_and_maintenance_holds_over_rabbitmq(
        tmp_path: Path, vhost: str, request: pytest.FixtureRequest, concurrency: str, database: str) -> None:
    url: str = request.getfixturevalue(f"{database}_url")
    with Deployment(tmp_path, vhost, url, concurrency=concurrency) as running:
        story(Demo(running.url, running.hosts, running.password))
