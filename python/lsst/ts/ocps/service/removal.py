"""Folders that jobs have made hard to remove: locked ones, and very deep ones. Everything here blocks."""

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path, PurePosixPath

__all__ = ["make_removable"]

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW
_PLACE = os.O_PATH | _FOLDER
"""How a folder is opened that may not be read; what is opened so is sure to be no link."""


def make_removable(folder: Path, *, max_depth: int) -> bool:
    """Unlock the folders below a folder and itself, and move those that lie deep up to it, until none does.

    A job may take the rights to its folders away from its user, and so from us; the modes of files do not
    matter. No link is followed.

    Parameters
    ----------
    folder
        The folder.
    max_depth
        How deep folders may lie.

    Returns
    -------
    bool
        Whether there were any such folders.

    Raises
    ------
    OSError
        If a folder is not ours.
    """
    has_changed = _unlock(str(folder))
    try:
        top = os.open(folder, os.O_RDONLY | _FOLDER)
    except FileNotFoundError:
        # Another process was quicker.
        return True
    try:
        while _walk_once(top, max_depth):
            has_changed = True
    finally:
        os.close(top)
    return has_changed


def _walk_once(top: int, max_depth: int) -> bool:
    has_changed = False
    for root, folders, _, directory in os.fwalk(".", dir_fd=top):
        # Each is unlocked before the walk looks into it.
        unlocked = [_unlock(name, directory) for name in folders]
        has_changed = has_changed or any(unlocked)
        if len(PurePosixPath(root).parts) >= max_depth:
            for name in folders:
                with suppress(FileNotFoundError):
                    os.rename(name, f".{uuid.uuid4()}", src_dir_fd=directory, dst_dir_fd=top)
                has_changed = True
            folders.clear()
    return has_changed


def _unlock(name: str, directory: int | None = None) -> bool:
    """Take all rights to a folder, if it is one; whether some were missing."""
    try:
        place = os.open(name, _PLACE, dir_fd=directory)
    except (NotADirectoryError, FileNotFoundError):
        # A link to a folder; or another process was quicker.
        return False
    try:
        mode = stat.S_IMODE(os.fstat(place).st_mode)
        if mode & stat.S_IRWXU == stat.S_IRWXU:
            return False
        # Of what was opened without being read the mode can be changed in this way only.
        Path(f"/proc/self/fd/{place}").chmod(mode | stat.S_IRWXU)
    finally:
        os.close(place)
    return True
