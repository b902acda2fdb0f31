"""What a page of the documentation shows: files, commands and their outputs, names in tables."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOC", "Step", "read_files", "read_page", "read_rows", "read_steps", "read_written"]

DOC = Path(__file__).parents[2] / "doc"
_BLOCK = re.compile(r"^\.\. code-block:: (\S+)\n((?:   \S.*\n)*)\n((?:(?:   .*)?\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A command and what it shows."""

    command: str
    output: str


def read_page(name: str) -> str:
    """The source of a page."""
    return (DOC / name).read_text(encoding="utf-8") + "\n"


def read_files(page: str) -> list[tuple[str, str]]:
    """Path and content of the files that a page shows: the blocks of code with a caption."""
    return [
        (options.partition(":caption:")[2].strip(), body)
        for _, options, body in _blocks(page)
        if ":caption:" in options
    ]


def read_written(page: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    return [body for written, _, body in _blocks(page) if written == language]


def read_steps(page: str) -> list[Step]:
    """The commands in the blocks of a console, in their order."""
    return [
        Step(lines.partition("\n")[0], lines.partition("\n")[2].strip())
        for body in read_written(page, "console")
        for lines in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    ]


def read_rows(page: str) -> list[list[str]]:
    """The rows of all list tables, each a list of its cells."""
    rows: list[list[str]] = []
    for line in page.splitlines():
        if match := re.fullmatch(r"   \* - ?(.*)", line):
            rows.append([match[1]])
        elif (match := re.fullmatch(r"     - ?(.*)", line)) and rows:
            rows[-1].append(match[1])
        elif (match := re.fullmatch(r"       (.*)", line)) and rows:
            rows[-1][-1] += f"\n{match[1]}"
    return rows


def _blocks(page: str) -> Iterator[tuple[str, str, str]]:
    for match in _BLOCK.finditer(page):
        language, options, body = match.groups()
        yield language, options, textwrap.dedent(body).strip("\n") + "\n"
