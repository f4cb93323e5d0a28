"""Idempotency keys belong to whoever chose them: by user and project, before the API and behind it."""

import base64
import json
from pathlib import Path
from typing import Any

import bcrypt
import falcon.testing
import pytest
from conductor_world import World

from common import errors
from conductor.api.app import make_app
from conductor.api.auth import HttpBasic

AGGREGATES = "/v2.1/os-aggregates"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A conductor without hosts in aggregates."""
    return World(tmp_path)


def create(world: World, name: str, **who: str | None) -> dict[str, Any]:
    """Ask for an aggregate under the key "k"."""
    found: dict[str, Any] = world.conductor.aggregate_create({"idempotency_key": "k", **who}, name=name)
    return found


def names(world: World) -> list[str]:
    """Return the names of all aggregates."""
    return [one["name"] for one in world.conductor.aggregate_list({})["aggregates"]]


def test_each_user_of_each_project_has_keys_of_his_own(world: World) -> None:
    askers: list[dict[str, str | None]] = [
        {"user": "ann@p", "user_id": "1", "project_id": "p"}, {"user": "ann@q", "user_id": "1", "project_id": "q"},
        {"user": "bob@p", "user_id": "2", "project_id": "p"}, {"user": "ann@", "user_id": "1", "project_id": None},
        {"user": "an older service"}, {"user": "another one"}, {}]
    for number, who in enumerate(askers):
        assert create(world, f"a{number}", **who)["name"] == f"a{number}"
    for number, who in enumerate(askers):
        assert create(world, f"a{number}", **who)["name"] == f"a{number}"
        with pytest.raises(errors.WrongState, match="used for another request") as found:
            create(world, "other", **who)
        assert found.value.code == "idempotency_key_reused"
    assert sorted(names(world)) == [f"a{number}" for number in range(len(askers))]


def test_a_name_that_changes_is_still_the_same_user(world: World) -> None:
    first = create(world, "a", user="ann@p", user_id="1", project_id="p")
    assert create(world, "a", user="anna@p", user_id="1", project_id="p") == first


def test_the_longest_names_and_keys_have_room(world: World) -> None:
    context = {"idempotency_key": "k" * 255, "user": "u" * 255, "user_id": "i" * 255, "project_id": "p" * 255}
    first = world.conductor.aggregate_create(context, name="a")
    assert world.conductor.aggregate_create(context, name="a") == first


def test_two_users_of_the_api_do_not_see_each_others_requests(world: World, tmp_path: Path) -> None:
    class Behind:
        """The conductor, as the API asks it."""

        def call(self, context: dict[str, Any], method: str, **arguments: Any) -> Any:
            """Ask it, with a JSON round trip."""
            return json.loads(json.dumps(getattr(world.conductor, method)(context, **arguments)))

    hashed = bcrypt.hashpw(b"w", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"ann:{hashed}\nbob:{hashed}\n")
    client = falcon.testing.TestClient(make_app(Behind(), auth=HttpBasic(tmp_path / "htpasswd")))

    def post(user: str, name: str) -> Any:
        proof = base64.b64encode(f"{user}:w".encode()).decode()
        return client.simulate_post(AGGREGATES, json={"aggregate": {"name": name}},
                                    headers={"Authorization": f"Basic {proof}", "Idempotency-Key": "k"})

    anns, bobs = post("ann", "a"), post("bob", "b")
    assert (anns.json["aggregate"]["name"], bobs.json["aggregate"]["name"]) == ("a", "b")
    assert (post("ann", "a").json, post("bob", "b").json) == (anns.json, bobs.json)
    taken = post("bob", "a")
    assert (taken.status_code, taken.headers["Corral-Error"]) == (409, "idempotency_key_reused")
    assert names(world) == ["a", "b"]
