"""The changes of the tables from version to version, made when a service starts.

To change a table: edit ``schema.py``, and say in a migration how the tables of earlier versions become the
new ones. Nothing has been released since ``versions/v0002_service.py``: until that is so, further columns,
indexes and tables go *into that file* (a column that is not nullable needs a ``server_default`` there). After
a release a new file follows it. Migrations are frozen: they name columns themselves and import nothing of
ours. ``tests/unit/service/test_migrations.py`` fails as long as migrations and ``schema.py`` differ, and says
in what.
"""

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from lsst.ts.ocps.service.errors import StoreError

__all__ = ["upgrade"]

_LOCK = threading.Lock()
"""What alembic works on is global."""

_BEFORE_MIGRATIONS = "0001"
"""The tables as they were made when there were no migrations."""


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables up to date, in a thread and in a transaction of the caller.

    Raises
    ------
    StoreError
        If a later version has changed them.
    """
    with _LOCK:
        _upgrade(connection)


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    # Percent signs are special in the file that this could come from.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    tables = sa.inspect(connection)
    try:
        if tables.has_table("jobs") and not tables.has_table("alembic_version"):
            command.stamp(config, _BEFORE_MIGRATIONS)
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"its tables are not of this version, perhaps of a later one: {error}") from error
