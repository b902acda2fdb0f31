"""``ocps config``: what configuration files say, before a CSC is started with them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from lsst.ts.ocps.csc.config import RedisSettings
from lsst.ts.ocps.csc.errors import ConfigurationError
from lsst.ts.ocps.csc.survey import Survey, find_subjects, survey
from lsst.ts.ocps.payloads.errors import CatalogueError

from .errors import ExitStatus
from .schemas import make_schemas

__all__ = ["config"]


@click.group()
def config() -> None:
    """Check configuration files, and describe what may stand in them."""


@config.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--site", help="Merge the file of this site only  [default: each site that has one]")
def check(files: tuple[Path, ...], site: str | None) -> int:
    """Say whether files are valid, with the errors of the command start, and what would be run.

    FILE is a configuration file or folder (it is merged as a CSC merges it), or a payload definition or a
    folder of them.
    """
    status = ExitStatus.DONE
    redis = RedisSettings.from_environment()
    for file in files:
        for subject in find_subjects(file, site):
            try:
                found = survey(subject, redis)
            except (ConfigurationError, CatalogueError) as error:
                status = ExitStatus.REJECTED
                click.echo(f"{subject.title}: refused")
                _echo_all(f"  {problem}" for problem in error.problems)
                continue
            status = status if found.is_valid else ExitStatus.REJECTED
            _echo_all(_describe(found))
    return status


@config.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files into this folder  [default: standard output]",
)
def schema(output: Path | None) -> int:
    """Give the JSON Schemas of configuration files, of CSC and service, and of payload definitions."""
    for name, text in make_schemas().items():
        if output is None:
            click.echo(text, nl=False)
        else:
            output.mkdir(parents=True, exist_ok=True)
            (output / name).write_text(text, encoding="utf-8")
    return ExitStatus.DONE


def _echo_all(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _describe(found: Survey) -> Iterator[str]:
    yield f"{found.title}: {'valid' if found.is_valid else 'refused'}"
    for part in found.parts:
        yield f"  {part.title}"
        yield from (f"    {line}" for line in part.lines)
