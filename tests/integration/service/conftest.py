"""Everything in this folder runs on SQLite, and on PostgreSQL in the system tests."""

import pytest


@pytest.fixture
def service_database(each_database: dict[str, str]) -> dict[str, str]:
    """One after another what tells a service to use a database of each kind."""
    return each_database
