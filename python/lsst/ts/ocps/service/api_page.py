"""The interface of the service for people, made of its OpenAPI document.

The usual pages load their programs from the network, which a summit may not have. No I/O.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Operation", "api_to_html", "list_operations"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be done at a URL."""

    method: str
    path: str
    """Pattern of the path, below the root URL."""

    summary: str
    query: tuple[str, ...]
    """Names of parameters in the query."""

    body: tuple[str, ...]
    """Names of fields in the body; ``…`` stands for the parameters of the payload."""


def list_operations(document: Mapping[str, Any]) -> list[Operation]:
    """List what an OpenAPI document tells, in its order."""
    return [
        Operation(
            method.upper(),
            path,
            content.get("summary", ""),
            tuple(entry["name"] for entry in content.get("parameters", ()) if entry["in"] == "query"),
            tuple(_fields(content.get("requestBody", {}))),
        )
        for path, methods in document["paths"].items()
        for method, content in methods.items()
    ]


def _fields(body: Mapping[str, Any]) -> Iterable[str]:
    # All kinds of forms have the same fields.
    kinds: Iterable[Mapping[str, Any]] = body.get("content", {}).values()
    schema = next(iter(kinds), {}).get("schema", {})
    yield from schema.get("properties", ())
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield "…"


def api_to_html(document: Mapping[str, Any], root_url: str) -> bytes:
    """A page that lists all operations.

    Parameters
    ----------
    document
        The OpenAPI document.
    root_url
        Root URL of the service as the client sees it, without trailing slash.
    """
    rows = "".join(
        f"<tr><td>{one.method}</td><td><code>{escape(one.path)}</code></td><td>{escape(one.summary)}</td>"
        f"<td>{escape(', '.join(one.query))}</td><td>{escape(', '.join(one.body))}</td></tr>"
        for one in list_operations(document)
    )
    title = escape(document["info"]["title"])
    heads = "".join(f"<th>{name}</th>" for name in ("Method", "Path", "Meaning", "Query", "Body"))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>'
        f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))}"
        f' The same for programs: <a href="{escape(root_url)}/openapi.json">openapi.json</a>.</p>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></body></html>"
    ).encode()
