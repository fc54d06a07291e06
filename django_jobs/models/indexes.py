"""Indexes of the hot table that differ where a vendor has no partial indexes (MySQL, MariaDB)."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement


class PartialIndex(models.Index):
    """An index of the rows `where`; where the database has no partial indexes, a plain one on `plain_fields`.

    A partial index keeps the rows of other states out, so that a claim costs PostgreSQL and SQLite fewer index writes.
    """

    unique = False

    def __init__(self, *, where: models.Q, plain_fields: tuple[str, ...] | list[str] = (), **options: Any) -> None:
        super().__init__(**options)
        # Not `condition`: Django warns of conditions that a vendor ignores, and here none is.
        self.where = where
        self.plain_fields = list(plain_fields) or list(self.fields)

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "where": self.where, "plain_fields": self.plain_fields}

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        if schema_editor.connection.features.supports_partial_indexes:
            index = models.Index(fields=self.fields, name=self.name, condition=self.where)
        else:
            index = models.Index(fields=self.plain_fields, name=self.name)
        statement = index.create_sql(model, schema_editor, using, **kwargs)
        if self.unique:
            statement.template = statement.template.replace("CREATE INDEX", "CREATE UNIQUE INDEX", 1)
        return statement


class PartialUniqueIndex(PartialIndex):
    """A unique index of the rows `where`. A plain unique index says the same where those are the rows that are not
    NULL.
    """

    unique = True
