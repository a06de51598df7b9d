"""What Alembic runs for `flask db`: migrations go through the application's own engine."""

from alembic import context
from flask import current_app

from ghibli_flask.database import db


def run_migrations() -> None:
    """Bring the database of the current application to the wished revision."""
    if context.is_offline_mode():
        context.configure(url=current_app.config["SQLALCHEMY_DATABASE_URI"], target_metadata=db.metadata)
        with context.begin_transaction():
            context.run_migrations()
        return
    options = current_app.extensions["migrate"].configure_args
    with db.engine.execution_options(writing=True).connect() as connection:
        context.configure(connection=connection, target_metadata=db.metadata, **options)
        with context.begin_transaction():
            context.run_migrations()


run_migrations()
