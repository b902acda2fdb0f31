"""The service with several owners: each has a token and makes calls with it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.tokens import new_token
from support.service_calls import Calls
from support.service_process import FakeService, fake_service

__all__ = ["Owners", "calls_from", "fake_with_owners", "write_tokens"]

NAMES = ("alice", "bob")
OPERATOR = "night"


def write_tokens(path: Path, *owners: str, operators: tuple[str, ...] = ()) -> dict[str, str]:
    """Make tokens and their file; the tokens by owner."""
    made = {owner: new_token(owner, is_operator=owner in operators) for owner in (*owners, *operators)}
    path.touch(0o600)
    path.write_text("".join(f"{token.to_line()}\n" for _, token in made.values()))
    return {owner: secret for owner, (secret, _) in made.items()}


@asynccontextmanager
async def calls_from(
    fake: FakeService, headers: dict[str, str] | None = None, *, address: str = "127.0.0.1"
) -> AsyncIterator[Calls]:
    """Calls with some headers, from some address."""
    transport = httpx.ASGITransport(create_app(fake.config, fake.context), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://uws.example", headers=headers) as http:
        yield Calls(http)


@dataclass(frozen=True)
class Owners:
    """A service whose callers have tokens."""

    fake: FakeService
    alice: Calls
    bob: Calls
    operator: Calls
    stranger: Calls
    tokens: dict[str, str]
    token_file: Path


@asynccontextmanager
async def fake_with_owners(directory: Path, **values: Any) -> AsyncIterator[Owners]:
    """A service without network and processes, with two users and an operator."""
    file = directory / "tokens"
    tokens = write_tokens(file, *NAMES, operators=(OPERATOR,))
    access = {"mode": "tokens", "file": file}
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(fake_service(directory, access=access, **values))
        calls = {
            owner: await stack.enter_async_context(calls_from(fake, {"Authorization": f"Bearer {secret}"}))
            for owner, secret in tokens.items()
        }
        stranger = await stack.enter_async_context(calls_from(fake))
        yield Owners(fake, calls["alice"], calls["bob"], calls[OPERATOR], stranger, tokens, file)
