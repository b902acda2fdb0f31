"""What came before the first release: several processes on one database."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, tables and indexes."""
    op.add_column("jobs", sa.Column("instance", sa.String(128)))
    op.add_column("jobs", sa.Column("stored_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("uploads", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("upload_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("jobs_by_owner", "jobs", ["owner_id", "creation_time", "job_id"])
    op.create_index("jobs_by_owner_and_phase", "jobs", ["owner_id", "phase"])
    _replace_indexes()
    op.create_table(
        "instances",
        sa.Column("instance", sa.String(128), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        _tell_of_changes()


def _replace_indexes() -> None:
    """Make lists of a hundred thousand jobs quick: by phase, and without indexes that lead astray."""
    for name in ("jobs_by_phase", "jobs_by_handed_over", "jobs_by_destroyed"):
        op.drop_index(name, "jobs")
    op.create_index("jobs_by_payload_and_phase", "jobs", ["payload", "phase", "creation_time", "job_id"])
    op.create_index("jobs_by_phase", "jobs", ["phase", "creation_time", "job_id"])
    for column in ("handed_over", "destroyed"):
        is_so = sa.column(column, sa.Boolean).is_(True)
        op.create_index(f"jobs_{column}", "jobs", ["job_id"], sqlite_where=is_so, postgresql_where=is_so)


def _tell_of_changes() -> None:
    """Have the database tell all processes of a change that concerns more than the one that made it."""
    op.execute(
        """
        CREATE FUNCTION ocps_tell_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('ocps_jobs', json_build_object(
                'instance', current_setting('application_name'),
                'job_id', NEW.job_id, 'payload', NEW.payload, 'phase', NEW.phase
            )::text);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER ocps_job_added AFTER INSERT ON jobs FOR EACH ROW
        WHEN (NEW.phase = 'QUEUED') EXECUTE FUNCTION ocps_tell_of_job()
        """
    )
    op.execute(
        """
        CREATE TRIGGER ocps_job_changed AFTER UPDATE ON jobs FOR EACH ROW
        WHEN (OLD.phase <> NEW.phase OR OLD.handed_over > NEW.handed_over OR OLD.destroyed <> NEW.destroyed)
        EXECUTE FUNCTION ocps_tell_of_job()
        """
    )
