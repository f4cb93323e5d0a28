"""Answers that no xapi gives, by name: of broken, slow, endless and malicious peers; and what an agent calls them."""

import gzip
import json
from typing import Any
from xmlrpc.client import Fault, dumps

from hostile_host import Attack, Caller

AWAY, STRANGE = "hypervisor_unavailable", "hypervisor_answer"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 2**20


def sends(*pieces: bytes) -> Attack:
    """Send these bytes and close."""
    return lambda caller: caller.send(b"".join(pieces))


def endless(begin: bytes, *pieces: bytes) -> Attack:
    """Send ``begin``, and the pieces for ever."""
    def attack(caller: Caller) -> None:
        caller.send(begin)
        caller.forever(*pieces)
    return attack


def drips(begin: bytes, drop: bytes) -> Attack:
    """Send ``begin``, and then a drop now and then, so that the connection is never silent."""
    def attack(caller: Caller) -> None:
        caller.send(begin)
        caller.forever(drop, pause_s=0.05)
    return attack


def silent(caller: Caller) -> None:
    """Take the request, say nothing."""
    caller.ended.wait()


def body(text: str | bytes, *headers: str, status: str = "200 OK") -> Attack:
    """Send a body with an honest length."""
    return lambda caller: caller.answer(text if isinstance(text, bytes) else text.encode(), *headers, status=status)


#: of HTTP: name -> what is sent, what the agent calls it
HTTP: dict[str, tuple[Attack, str]] = {
    "silence": (silent, AWAY),
    "closed-at-once": (sends(), AWAY),
    "head-that-drips": (drips(HEAD, b"x"), AWAY),
    "body-that-drips": (drips(HEAD + b"Content-Length: 9999\r\n\r\n", b" "), AWAY),
    "chunks-that-drip": (drips(HEAD + CHUNKED, b"1\r\n \r\n"), AWAY),
    "body-cut-short": (sends(HEAD, b"Content-Length: 9999\r\n\r\n", b"<?xml"), AWAY),
    "chunk-cut-short": (sends(HEAD, CHUNKED, b"ff\r\nx"), AWAY),
    "no-http": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), STRANGE),
    "endless-first-line": (endless(b"HTTP/1.1 200 ", b"x" * 9999), STRANGE),
    "endless-header": (endless(HEAD + b"X: ", b"x" * 9999), STRANGE),
    "endless-headers": (endless(HEAD, b"X: x\r\n"), STRANGE),
    "endless-continues": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99), STRANGE),
    "endless-body": (endless(HEAD + b"\r\n", b"x" * 65536), STRANGE),
    "endless-chunks": (endless(HEAD + CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"), STRANGE),
    "endless-chunk-size": (endless(HEAD + CHUNKED, b"1" * 9999), STRANGE),
    "endless-trailers": (endless(HEAD + CHUNKED + b"0\r\n", b"X: x\r\n" * 99), STRANGE),
    "chunk-of-exabytes": (sends(HEAD, CHUNKED, b"7fffffffffffffff\r\nx"), AWAY),
    "chunk-below-zero": (sends(HEAD, CHUNKED, b"-5\r\nx"), STRANGE),
    "length-of-exabytes": (sends(HEAD, b"Content-Length: 9223372036854775807\r\n\r\n"), STRANGE),
    "length-below-zero": (sends(HEAD, b"Content-Length: -1\r\n\r\n", b"x"), STRANGE),
    "length-too-small": (sends(HEAD, b"Content-Length: 9\r\n\r\n", b"<?xml version='1.0'?><methodResponse/>"), STRANGE),
    "server-error": (body("<html>", status="500 Internal Error"), STRANGE),
    "switched-protocols": (sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), STRANGE),
    "no-content": (sends(b"HTTP/1.1 204 No Content\r\n\r\n"), STRANGE),
    "gzip": (body(gzip.compress(b"x" * 30 * MIB), "Content-Encoding: gzip"), STRANGE),
    "gzip-that-is-not-announced": (body(gzip.compress(b"x" * MIB)), STRANGE),
    "empty-body": (body(""), STRANGE),
    "web-page": (body("<html><body><p>Welcome<br></body></html>"), STRANGE),
    "zeros": (body(b"\0" * 999), STRANGE),
}

def response(value: str, doctype: str = "") -> str:
    return (f"<?xml version='1.0'?>{doctype}<methodResponse><params><param><value>{value}</value></param></params>"
            "</methodResponse>")


def declaring(entities: str) -> str:
    return response("&e;", f"<!DOCTYPE x [{entities}]>")


def laughs() -> str:
    """Return entities of ten entities of ten entities, and so on."""
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
    return f'<!ENTITY a0 "ha">{levels}<!ENTITY e "&a29;">'


def success(value: str) -> str:
    return response(f"<struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>"
                    f"<value>{value}</value></member></struct>")


#: of XML-RPC: what stands in an honest body
XML: dict[str, str | bytes] = {
    "billion-laughs": declaring(laughs()),
    "quadratic-growth": declaring(f'<!ENTITY b "{"x" * 50000}"><!ENTITY e "{"&b;" * 9999}">'),
    "file-as-entity": declaring('<!ENTITY e SYSTEM "file:///etc/passwd">'),
    "doctype-from-elsewhere": response("x", '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'),
    "unknown-entity": success("&nothing;"),
    "half": success("x")[:-30],
    "deep": "<a>" * 300_000,
    "deep-arrays": success("<array><data><value>" * 20_000 + "</value></data></array>" * 20_000),
    "other-root": "<rss/>",
    "tags-in-disorder": response("</value><member><name>x</name></member><value>"),
    "text-as-number": success("<int>many</int>"),
    "number-of-a-million-digits": success(f"<int>{'9' * MIB}</int>"),
    "no-truth-value": success("<boolean>perhaps</boolean>"),
    "unknown-type": success("<matrix>1</matrix>"),
    "half-character": success("&#xD800;"),
    "other-encoding": "<?xml version='1.0' encoding='utf-7'?><methodResponse/>",
    "bad-utf-8": success("?").encode().replace(b"?", b"\xff\xfe\x80"),
    "no-params": "<methodResponse><params/></methodResponse>",
    "no-struct": response("Success"),
    "array-for-a-struct": response("<array><data><value>Status</value></data></array>"),
    "no-status": response("<struct><member><name>Value</name><value>x</value></member></struct>"),
    "no-value": response("<struct><member><name>Status</name><value>Success</value></member></struct>"),
    "unknown-status": response("<struct><member><name>Status</name><value>Perhaps</value></member></struct>"),
    "failure-without-code": response("<struct><member><name>Status</name><value>Failure</value></member></struct>"),
    "failure-with-a-text": response("<struct><member><name>Status</name><value>Failure</value></member><member>"
                                    "<name>ErrorDescription</name><value>BAD</value></member></struct>"),
    "fault": dumps(Fault(401, "x" * MIB)),
    "call": dumps(("x",), "system.listMethods"),
}

#: of JSON-RPC
JSON: dict[str, str | bytes] = {
    "half": '{"jsonrpc": "2.0", "result": ["x',
    "deep": "[" * 300_000,
    "deep-result": '{"result": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "number": "7", "text": '"Success"', "array": '[{"result": []}]', "null": "null",
    "neither-result-nor-error": '{"jsonrpc": "2.0", "id": 1}',
    "error-is-a-text": '{"error": "BAD"}',
    "error-without-message": '{"error": {"code": 1}}',
    "error-with-other-data": '{"error": {"message": "BAD", "data": {"a": 1}}}',
    "error-with-numbers": '{"error": {"message": "BAD", "data": [1, null]}}',
    "number-of-a-million-digits": '{"result": ' + "9" * MIB + "}",
    "bad-utf-8": b'{"result": "\xff\xfe\x80"}',
}


def valued(value: Any) -> Attack:
    """Answer with ``value``, as XML-RPC or JSON-RPC as it is asked."""
    def attack(caller: Caller) -> None:
        if caller.is_json:
            caller.answer(json.dumps({"jsonrpc": "2.0", "result": value, "id": 1}).encode())
        else:
            caller.answer(dumps(({"Status": "Success", "Value": value},), methodresponse=True).encode())
    return attack

