"""Pages of long lists, by ``limit`` and ``marker``, and microversions that bring something; both in Nova's manner."""

from collections.abc import Sequence
from urllib.parse import urlencode

from common import errors
from conductor.api.exchange import Json, Request, Version

#: entries in one page, as Nova's default max_limit
LONGEST = 1000


def page(items: Sequence[Json], query: Json, url: str, name: str, key: str = "id") -> Json:
    """Return the answer with the entries after the query's marker, at most its limit, and a link to the next page.

    Raises Invalid for a marker that is none of the entries.
    """
    marker = query.get("marker")
    keys = [str(item[key]) for item in items]
    if marker is not None and marker not in keys:
        raise errors.Invalid(f"marker [{marker[:50]}] not found")
    rest = items[keys.index(marker) + 1:] if marker is not None else items
    limit = min(query.get("limit") or LONGEST, LONGEST)
    answer: Json = {name: list(rest[:limit])}
    if len(rest) > limit:
        following = urlencode({**query, "limit": limit, "marker": rest[limit - 1][key]})
        answer[f"{name}_links"] = [{"rel": "next", "href": f"{url}?{following}"}]
    return answer


def since(request: Request, version: Version) -> None:
    """Raise NotFound unless the request's microversion has reached ``version``: before it there is no such address."""
    if request.version < version:
        raise errors.NotFound("The resource could not be found.", code="no_such_route")
