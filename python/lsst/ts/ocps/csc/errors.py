"""What can go wrong in the CSC.

::

    CscError
    ├── SettingsError             an environment variable is missing or wrong
    ├── ConfigurationError        the configuration cannot be used; lists every problem
    ├── RequestRejectedError      a command is refused; lists every problem
    ├── DepositError              results cannot be deposited
    └── LedgerError               the ledger cannot be used
        ├── LedgerInUseError      another process owns it
        ├── LedgerRowMissingError  it does not know the run
        └── LedgerDamagedError    it cannot be read: the disk, or somebody, has spoiled it

Foreign exceptions (sqlite3, pydantic, OSError) stop at the modules that meet them.
"""

from collections.abc import Iterable

__all__ = [
    "ConfigurationError",
    "CscError",
    "DepositError",
    "LedgerDamagedError",
    "LedgerError",
    "LedgerInUseError",
    "LedgerRowMissingError",
    "RequestRejectedError",
    "SettingsError",
]


class CscError(Exception):
    """Something the CSC cannot do; the message is meant for an operator."""


class SettingsError(CscError):
    """An environment variable is missing or wrong; the message names it and says what to do."""


class ConfigurationError(CscError):
    """The configuration cannot be used.

    Parameters
    ----------
    problems
        What is wrong, at least one; each names file, field, value and reason.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class RequestRejectedError(CscError):
    """A command is refused and no job exists for it.

    Parameters
    ----------
    problems
        What is wrong, at least one.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class DepositError(CscError):
    """Results cannot be deposited.

    Parameters
    ----------
    message
        Where and why.
    transient
        Whether it may work later, unchanged.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class LedgerError(CscError):
    """The ledger cannot be used; the message names the file and the reason."""


class LedgerInUseError(LedgerError):
    """Another process owns this ledger."""


class LedgerRowMissingError(LedgerError):
    """There is no row of a run; it is of no use to write it again."""


class LedgerDamagedError(LedgerError):
    """The file cannot be read as a database, or a row not as a run."""
