"""The schema that the migrations make is the one that the models describe."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from common import errors
from conductor.conditions import require_schema
from conductor.db.models import Base
from conductor.db.session import Database


def test_a_schema_from_scratch_equals_the_models(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.sqlite")
    database.upgrade()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert database.version()[0] == database.version()[1]
    database.close()


def test_upgrading_twice_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "twice.sqlite"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    before = "\n".join(sqlite3.connect(path).iterdump())
    database.upgrade()
    assert "\n".join(sqlite3.connect(path).iterdump()) == before
    database.close()


def test_a_schema_of_a_newer_version_is_left_as_it_is_and_named_so(tmp_path: Path) -> None:
    path = tmp_path / "newer.sqlite"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    with sqlite3.connect(path) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    with pytest.raises(errors.Invalid, match="9999, which a newer version of Corral has made"):
        database.upgrade()
    with pytest.raises(errors.Invalid, match=r"9999, .* made by a newer version of Corral; install that one"):
        require_schema(database)
    database.close()


def test_every_unique_constraint_is_named_for_its_table_and_column() -> None:
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            columns = [column.name for column in constraint.columns]  # type: ignore[attr-defined]
            if type(constraint).__name__ == "UniqueConstraint":
                assert constraint.name == f"uniq_{table.name}0{'0'.join(columns)}"


def test_a_database_that_can_not_be_opened_is_unavailable_and_a_bad_url_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable):
        Database(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite").upgrade()
    with pytest.raises(errors.Invalid):
        Database("nosuch://x")
