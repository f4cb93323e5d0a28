"""xapi's manners in HTTP: which requests it takes at all, and what it says to the others.

Knows requests and replies; what calls mean is for the function handed in.
"""

from xml.sax.saxutils import escape

from agent.simulator.server import REASONS, Request, Response

ADVICE = ("An unexpected error occurred; please wait a while and try again. If the problem persists, please contact "
          "your support representative.")


def refusal(request: Request) -> Response | None:
    """Return the answer to a request that is no call, None for one that may be."""
    if request.method == "OPTIONS":
        return Response(200, "text/html", b"")
    if request.method == "HEAD":
        return error_page(501, "method HEAD not implemented")
    if request.method != "POST":
        return error_page(403, "forbidden")
    if request.too_long:
        return error_page(500, "Http_svr.Client_requested_size_over_limit")
    if request.body is None:
        return error_page(500, "We require a content-length: HTTP header")
    return None


def error_page(status: int, text: str) -> Response:
    """Return an HTML page as xapi writes it, after which the connection is closed."""
    title = "HTTP 500 internal server error" if status == 500 else f"HTTP {status} {REASONS[status].lower()}"
    advice = ADVICE if status == 500 else ""
    escaped = escape(text, {'"': "&quot;", "'": "&apos;"})
    body = f"<html><body><h1>{title}</h1>{advice}<h1> Additional information </h1>{escaped}</body></html>"
    return Response(status, "text/html", body.encode("utf-8"), close=True)
