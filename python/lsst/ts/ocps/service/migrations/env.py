"""What alembic runs: the migrations, on the connection that `upgrade` was given."""

from alembic import context

# The transaction is that of the caller, also where the driver could do without.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
