"""What can be wrong with a UWS document.

::

    UwsDocumentError         not the document that was asked for, or none that can be read
    └── DaliFaultError       an error document: the service says why it refuses (DALI 1.1 section 4.2)
"""

from dataclasses import dataclass

__all__ = ["DaliFault", "DaliFaultError", "UwsDocumentError", "quoted"]


class UwsDocumentError(Exception):
    """An answer is not the document that it should be.

    Parameters
    ----------
    message
        What was expected, what was found, and the beginning of it.
    found
        Name of the root element that was found instead of the expected one; "" if that is not the trouble.
    """

    def __init__(self, message: str, *, found: str = "") -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True, slots=True)
class DaliFault:
    """What a DALI error document says."""

    message: str
    """The explanation, without the code word; the code word where nothing else is said."""

    code: str = "Error"
    """The word that classes the error (SODA 1.0 section 5): ``UsageError``, ``ServiceUnavailable`` …"""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code == "ServiceUnavailable"

    @property
    def is_authentication(self) -> bool:
        """Whether the service does not know the caller, or does not let it."""
        return self.code in {"AuthenticationError", "AuthorizationError"}


class DaliFaultError(UwsDocumentError):
    """The answer is an error document instead of the document that was asked for.

    Parameters
    ----------
    fault
        What the document says.
    """

    def __init__(self, fault: DaliFault) -> None:
        super().__init__(f"the service says {fault.code}: {fault.message}")
        self.fault = fault


def quoted(text: str, *, length: int = 120) -> str:
    """A text of strangers for a message: on one line, printable, in quotes, cut at ``length`` characters."""
    line = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
    return f"'{line}'" if len(line) <= length else f"'{line[: length - 1]}…'"
