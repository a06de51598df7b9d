"""Whether the database of the settings can be used as it is; asked by `make worker` before it starts anything."""

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from ghibli_flask.database import engine_options
from scripts.procfile import ROOT


def database_answers(address: str) -> bool:
    """Whether a connection can be made."""
    return _revisions(address) is not None


def database_is_up_to_date(address: str) -> bool:
    """Whether every migration has been run."""
    return _revisions(address) == set(ScriptDirectory(str(ROOT / "migrations")).get_heads())


def _revisions(address: str) -> set[str] | None:
    """The migrations that the database names as its last; None when it does not answer."""
    engine = create_engine(address, **engine_options(address, patient=False))
    try:
        with engine.connect() as connection:
            return set(MigrationContext.configure(connection).get_current_heads())
    except DBAPIError:
        return None
    finally:
        engine.dispose()
