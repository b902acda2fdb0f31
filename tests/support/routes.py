"""Everything that an application answers, so that a test cannot forget a route."""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

__all__ = ["paths_of", "routes_of"]


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of each route."""
    left: list[Any] = list(app.routes)
    while left:
        route = left.pop(0)
        # Included routers are kept whole.
        if (inner := getattr(route, "original_router", None)) is not None:
            left += inner.routes
            continue
        # A kind of route that this does not know must not be passed over.
        for method in sorted(route.methods):
            yield method, route.path


def paths_of(route: str) -> list[str]:
    """The names of the parameters in a path."""
    return re.findall(r"\{(\w+)\}", route)
