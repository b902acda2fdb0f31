"""git in a folder of a test."""

import subprocess
from pathlib import Path

__all__ = ["commit_all", "git"]


def git(directory: Path, *arguments: str) -> str:
    """Run git; returns what it prints."""
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(directory: Path) -> str:
    """Make a folder a repository with one commit of all that is there; returns its hash."""
    git(directory, "init", "-q", "-b", "main")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "first")
    return git(directory, "rev-parse", "HEAD")
