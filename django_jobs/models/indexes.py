"""Indexes of the hot table that differ where a vendor has no partial indexes."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement


class PartialIndex(models.Index):
    """A partial index; where the database has none (MySQL, MariaDB), a plain one on `plain_fields`.

    A partial index keeps the rows of other states out, so that a claim costs PostgreSQL and SQLite fewer index writes.
    """

    def __init__(self, *, plain_fields: tuple[str, ...] | list[str], **options: Any) -> None:
        super().__init__(**options)
        self.plain_fields = list(plain_fields)

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "plain_fields": self.plain_fields}

    def create_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        if schema_editor.connection.features.supports_partial_indexes:
            return super().create_sql(model, schema_editor, using, **kwargs)
        return models.Index(fields=self.plain_fields, name=self.name).create_sql(model, schema_editor, using, **kwargs)
