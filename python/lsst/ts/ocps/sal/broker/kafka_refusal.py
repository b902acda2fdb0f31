"""Why the brokers do not let us in: aiokafka logs the reason and raises an error without it."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from typing_extensions import override

__all__ = ["KafkaRefusalError", "raise_reason"]

_ARGUMENTS = (
    "client_id",
    "request_timeout_ms",
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)
"""What a connection needs of the arguments of a client."""

_PERMANENT_ERRORS = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, ssl.SSLError)


class KafkaRefusalError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """Every broker refuses us, or we refuse it, and another attempt would end in the same way."""

    @override
    def __str__(self) -> str:
        return str(self.args[0])


class _LoginFilter(logging.Filter):
    """Keeps requests that hold a password out of the debug log of aiokafka."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(type(argument).__name__.startswith("SaslAuthenticate") for argument in arguments)


logging.getLogger("aiokafka.conn").addFilter(_LoginFilter())


async def raise_reason(options: Mapping[str, Any]) -> None:
    """Connect to each bootstrap server once more, and raise what is wrong; nothing if one lets us in.

    Parameters
    ----------
    options
        Keyword arguments from `make_client_options`.

    Raises
    ------
    KafkaRefusalError
        If none will ever let us in with these settings; names each server and its reason, no secret.
    aiokafka.errors.KafkaConnectionError
        If there is another reason.
    """
    servers = [(host, port) for host, port, _ in collect_hosts(options["bootstrap_servers"])]
    arguments = {name: options[name] for name in _ARGUMENTS if name in options}
    errors = await asyncio.gather(*(_try(host, port, arguments) for host, port in servers))
    if None in errors:
        return
    reasons = "; ".join(
        f"{host}:{port}: {_describe(error, options)}"
        for (host, port), error in zip(servers, errors, strict=True)
    )
    if all(_find_cause(error) is not None for error in errors):
        raise KafkaRefusalError(reasons)
    raise KafkaConnectionError(reasons)


async def _try(host: str, port: int, arguments: Mapping[str, Any]) -> Exception | None:
    try:
        connection = await create_conn(host, port, **arguments)
    except (OSError, KafkaError) as error:
        return error
    connection.close()
    return None


def _find_cause(error: BaseException | None) -> BaseException | None:
    """What will not go away by itself, among an error and its causes."""
    while error is not None:
        if isinstance(error, _PERMANENT_ERRORS):
            return error
        error = error.__cause__
    return None


def _describe(error: BaseException | None, options: Mapping[str, Any]) -> str:
    cause = _find_cause(error) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of the broker is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or cause}"
    if isinstance(cause, UnsupportedSaslMechanismError):
        return f"the broker takes no logins by {options['sasl_mechanism']}"
    text = str(cause) or type(cause).__name__
    if isinstance(cause, ConnectionResetError | KafkaConnectionError):
        # This is all that comes from a listener of another kind.
        return f"{text} (it may be that this listener does not speak {options['security_protocol']})"
    return text
