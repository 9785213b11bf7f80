"""Cells of a CSV: the values without what people and spreadsheets put around them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.readings import Texts


class CellCleaner:
    """Removes spaces around values, and the signs by which spreadsheets protect them. What is then empty is missing.

    It learns which columns have nothing to remove: looking at each value takes as long as reading it.
    """

    def __init__(self, *, apostrophes: bool, formulas: bool) -> None:
        """Prepare for a file.

        Args:
            apostrophes: values may begin with one, as in `'0-3`.
            formulas: values may be written as `="0042"`.
        """
        self._apostrophes = apostrophes
        self._formulas = formulas
        self._clean: dict[str, bool] = {}

    def look(self, name: str, column: Texts) -> Texts:
        """Return a batch of a column, cleaned, and note whether there was anything to remove."""
        cleaned = self._remove(column)
        same = self._clean.get(name, True) and pc.all(pc.equal(cleaned, column)).as_py() is not False
        self._clean[name] = same and cleaned.null_count == column.null_count
        return cleaned

    def forget(self, name: str) -> None:
        """Forget what was noted of a column, for the rest of it was not looked at."""
        self._clean[name] = False

    def clean(self, table: pa.Table) -> pa.Table:
        """Return a batch, cleaned."""
        columns = [
            column if self._clean.get(name) else self._remove(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        return pa.Table.from_arrays(columns, names=table.column_names)

    def _remove(self, column: Texts) -> Texts:
        cleaned = pc.utf8_trim_whitespace(column)
        if self._apostrophes:
            cleaned = pc.replace_substring_regex(cleaned, r"^'([-+=@\d])", r"\1")
        if self._formulas:
            cleaned = pc.replace_substring_regex(cleaned, r'^="([^"]*)"$', r"\1")
        blank = pc.equal(cleaned, "")
        return pc.if_else(blank, pa.scalar(None, pa.string()), cleaned) if pc.any(blank).as_py() else cleaned
