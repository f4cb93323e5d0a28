"""Makes a command of each method of openstacksdk: ``sdk create_aggregate name=a`` prints what it returns, as JSON.

It runs inside the library's own environment and imports nothing of ours.  Values are JSON
where they are, else text; the address and who asks come from the usual variables.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import openstack  # type: ignore[import-not-found]


def main() -> int:
    """Call the method that the command line names; return 1 when it raised what the library raises."""
    _, name, *words = sys.argv
    cloud = openstack.connect(load_yaml_config=False)
    place: Any = cloud if name.startswith("cloud.") else cloud.compute
    arguments = [_value(word) for word in words if "=" not in word]
    named = {key: _value(text) for key, _, text in (word.partition("=") for word in words if "=" in word)}
    try:
        found = getattr(place, name.removeprefix("cloud."))(*arguments, **named)
        print(json.dumps(_plain(found)))
    except openstack.exceptions.SDKException as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 1
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(found: Any) -> Any:
    if hasattr(found, "to_dict"):
        shown = found.to_dict(original_names=False)
        return {key: value for key, value in shown.items() if value is not None and key != "location"}
    if isinstance(found, Iterator | list):
        return [_plain(one) for one in found]
    return found
