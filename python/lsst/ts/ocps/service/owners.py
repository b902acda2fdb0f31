"""Who asks, and whose jobs they may see. No I/O."""

import re
from dataclasses import dataclass

__all__ = ["ANYBODY", "NOBODY", "Caller", "check_owner"]

_OWNER = re.compile(r"[!\"$-~]{1,128}")


def check_owner(name: str) -> str:
    """The name, if it can be the id of an owner.

    Raises
    ------
    ValueError
        If it is not 1 to 128 visible ASCII characters other than #.
    """
    if not _OWNER.fullmatch(name):
        rule = "1 to 128 visible ASCII characters other than #"
        raise ValueError(f"an owner is named by {rule}, not by {name[:80]!r}")
    return name


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request."""

    owner_id: str | None
    """Owner of the jobs that are created; None: nobody is told from others."""

    sees_all: bool = False
    """Whether they may see and change all jobs: operators, and everybody where there is no authentication."""

    def may_see(self, owner_id: str | None) -> bool:
        """Whether the jobs of an owner exist for this caller."""
        return self.sees_all or (self.owner_id is not None and self.owner_id == owner_id)


ANYBODY = Caller(None, sees_all=True)
"""The caller where there is no authentication."""

NOBODY = Caller(None)
"""A caller who has not said who they are, at a page that everybody may read."""
