"""The seam between the store and the databases that it can be kept in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from .errors import StoreError, StoreUnavailableError

__all__ = ["Database", "map_error"]

T = TypeVar("T")


class Database(ABC):
    """A database; each kind is made by a class method ``open``, which brings its tables up to date.

    Calls get a connection that commits each statement by itself: what is to happen whole or not at all is
    one statement.
    """

    @abstractmethod
    async def write(self, call: Callable[[sa.Connection], T], *, alone: str = "") -> T:
        """Change something; returns when the change is durable.

        Parameters
        ----------
        call
            Executes one statement; may run in another thread.
        alone
            If not "": ``call`` may execute several statements as one transaction, and no other process does
            what has the same name meanwhile.

        Raises
        ------
        StoreUnavailableError
            If the database does not answer; whether the change has been made is not known then.
        StoreError
            If the database fails, and nothing has been changed.
        """

    @abstractmethod
    async def read(self, call: Callable[[sa.Connection], T]) -> T:
        """Read something.

        Parameters
        ----------
        call
            Reads; may run in another thread.

        Raises
        ------
        StoreError
            If the database fails.
        """

    @abstractmethod
    async def read_parts(
        self, query: sa.Select[Any], take: Callable[[Sequence[sa.Row[Any]]], None], *, size: int
    ) -> None:
        """Read many rows without holding up anybody for long; lists read so are read one after another.

        Parameters
        ----------
        query
            Which rows.
        take
            Called in the event loop with some rows after others.
        size
            How many rows there are in a part.

        Raises
        ------
        StoreError
            If the database fails.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Finish what was asked for, and close the connections."""


def map_error(name: str, error: SQLAlchemyError) -> StoreError:
    """The error to raise instead of one of SQLAlchemy.

    Parameters
    ----------
    name
        What the database is called in messages.
    error
        The error. Of what the database says only the first line is told: further ones quote rows.
    """
    if not isinstance(error, DBAPIError):
        is_lasting = not isinstance(error, sa.exc.TimeoutError)
        kind = StoreError if is_lasting else StoreUnavailableError
        return kind(f"database {name}: {error}")
    said = (str(error.orig).strip().splitlines() or [""])[0]
    reason = f"database {name}: {type(error.orig).__name__}: {said}"
    if error.connection_invalidated or isinstance(error, OperationalError):
        return StoreUnavailableError(reason)
    if isinstance(error, IntegrityError):
        return StoreError(reason)
    return StoreError(f"{reason} [{error.statement}]")
