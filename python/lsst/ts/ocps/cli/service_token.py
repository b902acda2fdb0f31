"""``ocps service token``: bearer tokens for the service."""

import click

from lsst.ts.ocps.service.tokens import new_token

from .errors import ExitStatus, UsageError

__all__ = ["token"]


@click.command()
@click.argument("owner")
@click.option("--operator", is_flag=True, help="Its owner sees, and may change, the jobs of everybody.")
def token(owner: str, *, operator: bool) -> int:
    """Make a bearer token for OWNER.

    The token goes to standard error and is shown this once; the line for the service's token file goes to
    standard output, so that "ocps service token OWNER >> FILE" adds it. The service takes notice within a
    second. Whoever deletes the line takes the token back.
    """
    try:
        secret, made = new_token(owner, is_operator=operator)
    except ValueError as error:
        raise UsageError(f"OWNER: {error}") from None
    click.echo(secret, err=True)
    click.echo(made.to_line())
    return ExitStatus.DONE
