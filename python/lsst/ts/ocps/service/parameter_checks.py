"""The parameters of a job, checked against the definition of its payload without holding up anything else."""

import asyncio
from collections.abc import Sequence

from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.parameters import decode, encode, validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition

from .errors import UsageError

__all__ = ["check_parameters"]

_SMALL = 4096
"""Parameters of so many characters are checked at once (0.2 ms), without a thread."""


async def check_parameters(
    definition: PayloadDefinition, pairs: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Check parameters, in a thread if there is much of them; usual ones take less than the way there.

    Returns
    -------
    tuple
        As they will be shown and used, with the defaults.

    Raises
    ------
    UsageError
        If anything is wrong; every problem is listed.
    """
    if sum(len(name) + len(value) for name, value in pairs) <= _SMALL:
        return _read_parameters(definition, pairs)
    return await asyncio.to_thread(_read_parameters, definition, pairs)


def _read_parameters(
    definition: PayloadDefinition, pairs: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    try:
        return encode(definition, validate(definition, decode(definition, pairs)))
    except ParameterError as error:
        raise UsageError(str(error)) from error
