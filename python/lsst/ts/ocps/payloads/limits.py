"""How many runs may be active at once, and what becomes of the others. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = ["DEFAULT_QUEUE", "LimitKeys", "LimitSettings", "Limits", "put_over"]

DEFAULT_QUEUE = 100
"""How many runs may wait in mode ``asynchronous`` where nothing is said."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one payload, or of one instance of the CSC."""

    max_active: int | None = None
    """How many runs may be active at once; None: any number."""

    max_queued: int | None = None
    """How many more may wait; None: any number, 0: the others are refused."""

    allows_detach: bool = True
    """Whether a command may be complete before its job has ended."""

    origin: str = ""
    """The keys that say so, for messages."""

    def find_excess(self, active: int) -> str:
        """Why one more run has to be refused; "" if it has not.

        Parameters
        ----------
        active
            How many runs have not ended, those that wait among them.
        """
        if self.max_active is None or self.max_queued is None or active < self.max_active + self.max_queued:
            return ""
        runs = "1 run is" if active == 1 else f"{active} runs are"
        return f"{runs} active{' or waiting' if self.max_queued else ''}, {self.origin}"


_SET_BY_MODE = {
    "synchronous": frozenset({"max_active", "when_busy", "max_queued"}),
    "asynchronous": frozenset({"when_busy"}),
}
"""Keys that a mode says all about."""


def put_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put keys over others of which some are limits: a mode takes the place of what it says all about.

    Parameters
    ----------
    values
        What was said.
    changes
        What is said instead.
    """
    replaced = _SET_BY_MODE.get(changes.get("mode", ""), frozenset())
    return {key: value for key, value in values.items() if key not in replaced} | dict(changes)


class LimitKeys(BaseModel):
    """What may be said of limits; default: any number of runs at once."""

    mode: Literal["synchronous", "asynchronous"] | None = None
    """``synchronous``: one run at a time, others are refused, and nothing can be detached. ``asynchronous``:
    `max_active` at a time, `max_queued` more wait, others are refused."""

    max_active: Annotated[int, Field(gt=0, strict=True)] | None = None
    """How many runs may be active at once; None: any number."""

    when_busy: Literal["queue", "reject"] = "queue"
    """What happens to a run beyond `max_active`."""

    max_queued: Annotated[int, Field(ge=0, strict=True)] | None = None
    """How many runs beyond `max_active` may wait; None: any number (100 in mode ``asynchronous``)."""


class LimitSettings(LimitKeys):
    """Limits that are complete: keys that contradict each other are refused."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        for key, reason in self._limit_problems():
            # `.catalogue` takes it apart again, as the other problems of a definition.
            problems = [(key, getattr(self, key), reason)]
            raise PydanticCustomError(
                "definition", "{text}", {"text": f"{key}: {reason}", "problems": problems}
            )
        return self

    def _limit_problems(self) -> Iterator[tuple[str, str]]:
        if self.mode == "synchronous":
            fixed = {"max_active": 1, "when_busy": "reject", "max_queued": 0}
            for key in sorted(self.model_fields_set & fixed.keys()):
                if getattr(self, key) not in {fixed[key], None}:
                    yield key, f"is {fixed[key]} in mode synchronous; leave it out"
            return
        if self.mode == "asynchronous" and self.max_active is None:
            yield "max_active", "mode asynchronous needs it: how many may be active at once?"
        if self.mode == "asynchronous" and self.when_busy == "reject":
            yield "when_busy", "is queue in mode asynchronous; leave it out"
        if self.max_queued is not None and self.max_active is None:
            yield "max_queued", "needs max_active: beyond how many do the others wait?"
        if self.max_queued and self.when_busy == "reject":
            yield "max_queued", "is 0 where when_busy is reject; leave it out"

    @property
    def limits(self) -> Limits:
        """What the keys amount to."""
        if self.mode == "synchronous":
            return Limits(1, 0, allows_detach=False, origin="mode synchronous allows 1")
        if self.max_active is None:
            return Limits()
        if self.when_busy == "reject":
            origin = f"max_active allows {self.max_active} (when_busy: reject)"
            return Limits(self.max_active, 0, origin=origin)
        queued = DEFAULT_QUEUE if self.mode and self.max_queued is None else self.max_queued
        origin = f"max_active allows {self.max_active} and max_queued {queued} more"
        return Limits(self.max_active, queued, origin=origin)
