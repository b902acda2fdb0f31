"""How many files and connections a process may have open."""

import resource

__all__ = ["allow_many_files"]

_WANTED = 65_536


def allow_many_files() -> int:
    """Raise the limit of this process as far as the system lets it, and a thousand connections need.

    Many systems start programs with a soft limit of 1024, for the sake of those that use ``select``.

    Returns
    -------
    int
        The limit now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
