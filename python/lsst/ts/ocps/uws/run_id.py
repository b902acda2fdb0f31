"""The key of a run: ours, sent as the UWS RUNID and found again in the job list."""

import re
import secrets
import time

__all__ = ["MAX_LENGTH", "is_own_run_id", "new_run_id", "run_id_prefix"]

MAX_LENGTH = 63
"""Kubernetes labels end here; DALI 1.1 section 3.4.7 allows 64."""

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_UNSAFE = re.compile(r"[^a-z0-9]+")
_KEY = re.compile(rf"[{_BASE32}]{{19}}")


def run_id_prefix(site: str, index: int) -> str:
    """What the run_ids of one CSC begin with.

    Those of another CSC may begin so too (site ``a-1``, index 1 and site ``a``, index 1): whose a run_id is
    tells `is_own_run_id`.

    Parameters
    ----------
    site
        Name of the site; characters that labels refuse become hyphens.
    index
        SAL index of the CSC.
    """
    safe = _UNSAFE.sub("-", site.lower()).strip("-")[:24].rstrip("-") or "site"
    return f"ocps-{safe}-{index}-"


def new_run_id(site: str, index: int) -> str:
    """Make a key that is unique over sites, indices, restarts and clock steps, and sorts by time.

    Parameters
    ----------
    site, index
        As for `run_id_prefix`.

    Returns
    -------
    str
        At most `MAX_LENGTH` characters of ``[a-z0-9-]``: the prefix, 9 characters of time (ms) and
        10 random ones (50 bits).
    """
    stamp = int(time.time() * 1000)
    text = "".join(_BASE32[(stamp >> shift) & 31] for shift in range(40, -1, -5))
    return f"{run_id_prefix(site, index)}{text}{''.join(secrets.choice(_BASE32) for _ in range(10))}"


def is_own_run_id(text: str, prefix: str) -> bool:
    """Whether ``text`` was made by `new_run_id` for the site and index of a `run_id_prefix`."""
    return text.startswith(prefix) and _KEY.fullmatch(text, len(prefix)) is not None
