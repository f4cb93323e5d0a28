"""JSON-RPC 1.0 and 2.0 as xapi speaks it at /jsonrpc; integers are numbers, the error code is always 1.

Knows values only: no methods, no sessions.
"""

import json
from typing import Any

from agent.simulator.wire_xml import BadRequest


def decode_call(body: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """Return (method, parameters, what the reply must repeat)."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"Yojson.Json_error({exc})") from exc
    if not isinstance(request, dict):
        raise BadRequest('Jsonrpc.Malformed_method_request("Invalid request body")')
    for name in ("id", "method", "params"):
        if name not in request:
            raise BadRequest(f"Jsonrpc.Malformed_method_request(\"Invalid field '{name}' in request body\")")
    params = request["params"]
    if isinstance(params, dict):  # xapi counts them as positional
        params = [params]
    if not isinstance(params, list) or not isinstance(request["method"], str):
        raise BadRequest('Jsonrpc.Malformed_method_request("Invalid request body")')
    return request["method"], params, {"id": request["id"], "v2": request.get("jsonrpc") == "2.0"}


def encode_success(value: Any, envelope: dict[str, Any]) -> bytes:
    """Return the body of a successful reply."""
    result = "" if value is None else value
    if envelope["v2"]:
        return _dump({"jsonrpc": "2.0", "result": result, "id": envelope["id"]})
    return _dump({"result": result, "error": None, "id": envelope["id"]})


def encode_failure(description: list[str], envelope: dict[str, Any]) -> bytes:
    """Return the body of an API failure."""
    if envelope["v2"]:
        error = {"code": 1, "message": description[0], "data": description[1:]}
        return _dump({"jsonrpc": "2.0", "error": error, "id": envelope["id"]})
    return _dump({"result": None, "error": description, "id": envelope["id"]})


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
