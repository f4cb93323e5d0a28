"""The version documents, by which clients find out what is served.

Clients follow the self links, so these carry the address by which the client came.
"""

from conductor.api.exchange import Answer, Json, Request
from conductor.api.nova import microversion


def index(request: Request) -> Answer:
    """List both versions, v2.0 first, as Nova does."""
    return Answer({"versions": [_v20(request.url), _v21(request.url)]})


def show_v20(request: Request) -> Answer:
    """Describe v2.0, which Nova's clients still look up."""
    return Answer({"version": _whole(_v20(request.url), "2")})


def show_v21(request: Request) -> Answer:
    """Describe v2.1."""
    return Answer({"version": _whole(_v21(request.url), "2.1")})


def _v20(url: str) -> Json:
    return {"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "",
            "updated": "2011-01-21T11:33:21Z", "links": [{"rel": "self", "href": f"{url}/v2/"}]}


def _v21(url: str) -> Json:
    return {"id": "v2.1", "status": "CURRENT", "version": microversion.text(microversion.HIGHEST),
            "min_version": microversion.text(microversion.LOWEST),
            "updated": "2013-07-23T11:33:21Z", "links": [{"rel": "self", "href": f"{url}/v2.1/"}]}


def _whole(short: Json, number: str) -> Json:
    described = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
    return {**short, "links": [*short["links"], described],
            "media-types": [{"base": "application/json",
                             "type": f"application/vnd.openstack.compute+json;version={number}"}]}
