"""The table of jobs, as it was before there were migrations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(32), primary_key=True),
        sa.Column("payload", sa.String(63), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("owner_id", sa.String(128)),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("destruction", sa.BigInteger),
        sa.Column("execution_duration", sa.Integer, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("error_message", sa.Text),
        sa.Column("error_is_transient", sa.Boolean, nullable=False),
        sa.Column("error_has_detail", sa.Boolean, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("executor", sa.String(32), nullable=False),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("native_id", sa.Text),
        sa.Column("handed_over", sa.Boolean, nullable=False),
        sa.Column("destroyed", sa.Boolean, nullable=False),
    )
    op.create_index("jobs_by_payload", "jobs", ["payload", "creation_time", "job_id"])
    op.create_index("jobs_by_time", "jobs", ["creation_time", "job_id"])
    op.create_index("jobs_by_phase", "jobs", ["phase"])
    op.create_index("jobs_by_destruction", "jobs", ["destruction"])
    op.create_index("jobs_by_handed_over", "jobs", ["handed_over"])
    op.create_index("jobs_by_destroyed", "jobs", ["destroyed"])
