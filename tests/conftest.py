"""Fixtures shared by all suites live in ``support`` and are named here once."""

import pytest
from hypothesis import settings

# Property tests decide by what is true, not by how fast a shared machine is today, nor by examples that
# nobody has met before: those are looked for by ``pytest --hypothesis-profile explore``.
settings.register_profile("explore", deadline=None, derandomize=False)
settings.register_profile("ocps", deadline=None, derandomize=True, database=None)
settings.load_profile("ocps")

# The contracts that the package ships are tests, though their names do not say so.
pytest.register_assert_rewrite(
    "lsst.ts.ocps.executors.contract",
    "lsst.ts.ocps.executors.contract_ends",
    "lsst.ts.ocps.executors.contract_lives",
    "lsst.ts.ocps.executors.contract_submissions",
)

pytest_plugins = [
    "support.apicurio",
    "support.broker_kinds",
    "support.brokers",
    "support.csc",
    "support.observer",
    "support.postgresql",
    "support.s3_server",
    "support.sal_fixtures",
    # Use the one before, which has to be registered first.
    "support.conformance",
    "support.rough_kafka",
    "support.rough_registry",
    "support.sandbox",
    "support.served_csc",
    "support.service_process",
]
