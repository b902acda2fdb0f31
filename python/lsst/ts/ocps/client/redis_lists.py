"""The lists of a Redis server, as far as they are needed: push values, all or none, in bounded time."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import cast
from urllib.parse import urlsplit

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import override

from .errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    RequestRefusedError,
)
from .rapid_analysis import Lists
from .settings import RapidAnalysisSettings

__all__ = ["RedisLists"]

_PUSH = """
for number, key in ipairs(KEYS) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' and kind ~= 'list' then
        return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ' and no list')
    end
end
for number, key in ipairs(KEYS) do
    redis.call('LPUSH', key, ARGV[number])
end
return #KEYS
"""
"""Looks at every key before it touches one. A transaction (MULTI) would go on after a key that is no list,
and undo nothing."""


class RedisLists(Lists):
    """Those of a real server; each call has a connection of its own, so that a broken one harms no other.

    Parameters
    ----------
    name
        Name of the back end, for messages.
    settings
        Where the server is.
    password
        The password; None for none.
    """

    def __init__(self, name: str, settings: RapidAnalysisSettings, password: str | None) -> None:
        self._name = name
        self._settings = settings
        self._password = password

    @override
    async def push(self, values: Sequence[tuple[str, str]]) -> None:
        keys, texts = zip(*values, strict=True)
        sent = False
        try:
            async with asyncio.timeout(self._settings.call_timeout), self._client() as client:
                # Connects and logs in, so that whatever fails so far has pushed nothing.
                await _answer(client.ping())
                sent = True
                await _answer(client.eval(_PUSH, len(keys), *keys, *texts))
        except (redis.exceptions.RedisError, OSError) as error:
            raise self._map(error, was_sent=sent) from error

    @override
    async def version(self) -> str:
        try:
            async with asyncio.timeout(self._settings.call_timeout), self._client() as client:
                await _answer(client.ping())
                try:
                    info = await client.info("server")
                except redis.exceptions.ResponseError:
                    return ""  # not everybody is allowed to ask
        except (redis.exceptions.RedisError, OSError) as error:
            raise self._map(error, was_sent=False) from error
        return str(info.get("redis_version", ""))

    def _client(self) -> redis.asyncio.Redis:
        parts = urlsplit(self._settings.url)
        return redis.asyncio.Redis(
            host=parts.hostname or "",
            port=parts.port or 6379,
            db=int(parts.path.strip("/") or 0),
            username=self._settings.user,
            password=self._password,
            decode_responses=True,
            # The deadline of the call bounds everything, and nothing is ever sent twice.
            retry=Retry(NoBackoff(), 0),
        )

    def _map(self, error: Exception, *, was_sent: bool) -> BackendError:
        said = str(error) or type(error).__name__
        if self._password is not None:
            said = said.replace(self._password, "[hidden]")
        match error:
            case redis.exceptions.AuthenticationError() | redis.exceptions.NoPermissionError():
                return BackendAuthenticationError(self._name, f"Redis refuses: {said}")
            case redis.exceptions.ResponseError() if said.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
                return BackendAuthenticationError(self._name, f"Redis refuses: {said}")
            case redis.exceptions.BusyLoadingError() | redis.exceptions.ReadOnlyError():
                return BackendUnavailableError(self._name, f"Redis cannot push now: {said}")
            case redis.exceptions.ResponseError():
                return RequestRefusedError(self._name, f"Redis refuses, and nothing was pushed: {said}")
            case redis.exceptions.ConnectionError() | redis.exceptions.TimeoutError() | OSError():
                reason = said
                if isinstance(error, TimeoutError):
                    reason = f"no answer in {self._settings.call_timeout:g} s"
                doubt = "whether the values were pushed is not known" if was_sent else "nothing was pushed"
                text = f"{self._settings.url}: {reason}; {doubt}"
                return BackendUnavailableError(self._name, text, was_sent=was_sent)
            case _:
                return BackendFailedError(self._name, f"Redis: {said}")


async def _answer(call: object) -> object:
    """Await a command; redis-py declares one type for its blocking and its asyncio clients."""
    return await cast("Awaitable[object]", call)
