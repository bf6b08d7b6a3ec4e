"""Results that show themselves: as a data frame, as Markdown, and as a table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gopro_tools.text import markdown_cell, markdown_table

if TYPE_CHECKING:
    import pandas as pd


class ShownResult(ABC):
    """Base of what the verbs of `gopro_tools` return."""

    @abstractmethod
    def to_dataframe(self) -> pd.DataFrame:
        """The rows of the result, at full precision."""

    def to_markdown(self) -> str:
        """The result as a GitHub table."""
        frame = self.to_dataframe()
        rows = [[markdown_cell(str(cell)) for cell in row] for row in frame.itertuples(index=False)]
        return markdown_table(list(frame.columns), rows, n_text_columns=len(frame.columns)) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.to_dataframe().to_html(index=False)
