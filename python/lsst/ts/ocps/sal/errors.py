"""What can go wrong in the SAL runtime (salobj-api section 2).

::

    Exception
    ├── ExpectedError             a failure that needs no traceback
    ├── AckError                  a command failed; carries the acknowledgement
    │   └── AckTimeoutError       no final acknowledgement came in time (not an asyncio.TimeoutError)
    ├── WildcardIndexError        (a ValueError) "Name:*" where one index is needed
    └── SalError                  the runtime itself
        ├── SettingsError         an environment variable is missing or wrong
        ├── InterfaceError        the interface XML is missing or wrong
        ├── FieldError            (a ValueError) a value does not fit its field
        ├── DecodeError           a record on the wire cannot be read
        ├── BrokerError           Kafka: names the address
        └── RegistryError         schema registry: names the address
            ├── SchemaRefusedError    the registry refuses a schema (409)
            └── SchemaNotFoundError   the registry does not know a schema id (404)
"""

from typing import Any

from typing_extensions import override

__all__ = [
    "AckError",
    "AckTimeoutError",
    "BrokerError",
    "DecodeError",
    "ExpectedError",
    "FieldError",
    "InterfaceError",
    "RegistryError",
    "SalError",
    "SchemaNotFoundError",
    "SchemaRefusedError",
    "SettingsError",
    "WildcardIndexError",
]


class ExpectedError(Exception):
    """A failure that is understood: it is reported without a traceback."""


def _describe_ackcmd(ackcmd: Any) -> str:
    from .enums import as_sal_ret_code  # noqa: PLC0415 (enums has no errors; errors need it for text only)

    ack = as_sal_ret_code(ackcmd.ack)
    return (
        f"(ackcmd private_seqNum={ackcmd.private_seqNum}, ack={ack!r}, error={ackcmd.error}, "
        f"result={ackcmd.result!r})"
    )


class AckError(Exception):
    """A command failed.

    Parameters
    ----------
    msg
        What failed.
    ackcmd
        The acknowledgement that says so.
    """

    def __init__(self, msg: str, ackcmd: Any) -> None:
        super().__init__(msg)
        self.ackcmd = ackcmd

    @override
    def __str__(self) -> str:
        return f"msg={self.args[0]!r}, ackcmd={_describe_ackcmd(self.ackcmd)}"

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class AckTimeoutError(AckError):
    """No final acknowledgement came in time; ``ackcmd`` is the last one seen, or one made up (NOACK)."""


class WildcardIndexError(ValueError):
    """A component name with ``*`` as its index was given where one index is needed.

    Parameters
    ----------
    name
        The component name without the index.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}:* names every index; one is needed")
        self.name = name


class SalError(Exception):
    """The SAL runtime cannot do its work."""


class SettingsError(SalError, RuntimeError):
    """An environment variable is missing or wrong; the message names it."""


class InterfaceError(SalError):
    """The interface XML of a component is missing or wrong."""


class FieldError(SalError, ValueError):
    """A value does not fit its field; the message names topic, field, value and reason."""


class DecodeError(SalError):
    """A record on the wire cannot be read: damaged, or written with a schema that does not fit."""


class BrokerError(SalError):
    """Kafka did not do what was asked; the message names the address."""


class RegistryError(SalError):
    """The schema registry did not do what was asked; the message names the address."""


class SchemaRefusedError(RegistryError):
    """The registry refuses a schema as incompatible with its subject (HTTP 409)."""


class SchemaNotFoundError(RegistryError):
    """The registry does not know a schema id."""
