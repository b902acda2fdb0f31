"""Why records were not delivered: counted, and told without flooding the log."""

import logging
from collections import Counter
from enum import StrEnum

from .broker.base import Record

__all__ = ["SkipCounter", "SkipReason"]


class SkipReason(StrEnum):
    """Why a record that was read did not become a sample."""

    TOMBSTONE = "tombstone"
    """It has no value."""

    UNDECODABLE = "undecodable"
    """Frame, body or fields are not those of the topic."""

    UNKNOWN_SCHEMA = "unknown schema"
    """The registry does not know its schema."""

    NO_REGISTRY = "no registry"
    """The registry could not be asked for its schema, for too long."""

    OTHER_INDEX = "other index"
    """It is meant for another index; nothing is wrong with it."""

    OUT_OF_ORDER = "out of order"
    """A later sample of the same sender has come already."""

    BAD_NUMBER = "private_seqNum not positive"
    """A command whose acknowledgement nobody could match."""

    DUPLICATE = "delivered twice"
    """A command that has been received before."""

    NOT_ASSIGNED = "not assigned"
    """Of a partition that nobody asked for."""

    UNEXPECTED = "unexpected"
    """Dealing with it raised an error that nobody thought of."""


class SkipCounter:
    """Counts, and logs each reason at its first, tenth, hundredth … time.

    Parameters
    ----------
    log
        Where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.counts: Counter[str] = Counter()
        """Number of records by reason."""

    def add(self, record: Record, reason: SkipReason, error: Exception | None = None) -> None:
        """Count a record.

        Parameters
        ----------
        record
            Which one.
        reason
            Why it is not delivered.
        error
            What says more about it.
        """
        self.counts[reason] += 1
        count = self.counts[reason]
        if reason is SkipReason.OTHER_INDEX or not _is_power_of_ten(count):
            return
        self._log.warning(
            "skipped the record at %s offset %d (%s%s); %d such so far",
            record.topic,
            record.offset,
            reason,
            f": {error}" if error else "",
            count,
            exc_info=error if reason is SkipReason.UNEXPECTED else None,
        )


def _is_power_of_ten(count: int) -> bool:
    return str(count).rstrip("0") == "1"
