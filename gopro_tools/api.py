"""The verbs of `gopro_tools` as one calls them from Python.

Each is ``verb(input, config, *, out=..., on_progress=...)`` and returns a result that shows itself:
``.to_dataframe()``, ``.to_markdown()``, and a table in a notebook. They are offered by the package
itself, and loaded when they are first used::

    import gopro_tools

    gopro_tools.verify("dataset")
    gopro_tools.evaluate(Sources(dataset=Path("dataset"), restored=("mine=restored",)))
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.detect import detect
from gopro_tools.errors import InputError
from gopro_tools.evaluate import evaluate
from gopro_tools.files import write_atomic
from gopro_tools.findings import Finding, findings_csv, has_errors
from gopro_tools.restoring import restore
from gopro_tools.shown import ShownResult
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.run import Summary
from gopro_tools.synthesize.run import synthesize as _synthesize
from gopro_tools.tables import compare
from gopro_tools.text import markdown_cell, markdown_table, read_csv
from gopro_tools.threads import Progress
from gopro_tools.verify import VerifyConfig
from gopro_tools.verify import verify as _verify

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "detect", "evaluate", "restore", "synthesize", "verify"]


@dataclass(frozen=True, kw_only=True)
class Synthesis(ShownResult):
    """A dataset that was made; shows itself as its manifest."""

    summary: Summary
    """Counts, and what went wrong."""

    @property
    def out(self) -> Path:
        """Folder of the dataset."""
        return self.summary.out

    def to_dataframe(self) -> "pd.DataFrame":
        """The manifest: one row per pair. Empty while other shards are still to be made."""
        import pandas as pd

        path = self.out / MANIFEST_FILE
        return pd.DataFrame(read_csv(path, ()) if path.is_file() else ())

    def to_markdown(self) -> str:
        """Pairs of each sequence."""
        frame = self.to_dataframe()
        if frame.empty:
            return "No pairs.\n"
        counts = Counter(zip(frame["split"], frame["sequence"], strict=True))
        rows = [[split, markdown_cell(name), str(n)] for (split, name), n in counts.items()]
        return markdown_table(["split", "sequence", "pairs"], rows, n_text_columns=2) + "\n"


def synthesize(
    sources: Path | str | Sequence[Path | str],
    config: SynthesisConfig | None = None,
    *,
    out: Path | str,
    on_progress: Progress | None = None,
    **options: Any,
) -> Synthesis:
    """Make a dataset of blurred/sharp pairs from videos.

    It starts processes: call it under ``if __name__ == "__main__":`` in a script.

    Args:
        sources: Video files, folders of numbered frames, or folders to search for such.
        config: The recipe; that of GOPRO_Large by default.
        out: Folder of the dataset. The same call on it resumes after an interruption.
        on_progress: Called with the windows done and all.
        options: ``jobs``, ``executor``, ``shard`` and ``overwrite`` of
            `gopro_tools.synthesize.synthesize`, which also says what is raised.
    """
    named = [sources] if isinstance(sources, str | Path) else list(sources)
    return Synthesis(summary=_synthesize(named, out, config, progress=on_progress, **options))


@dataclass(frozen=True, kw_only=True)
class Verification(ShownResult, Sequence[Finding]):
    """What was found in a dataset: a sequence of findings, empty if all is well."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding says that the data is wrong."""
        return not has_errors(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, index: Any) -> Any:
        return self.findings[index]

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per finding."""
        import io

        import pandas as pd

        text = findings_csv(self.findings)
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def verify(
    dataset: Path | str,
    config: VerifyConfig | None = None,
    *,
    out: Path | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Check a dataset in the GOPRO_Large layout.

    Args:
        dataset: The folder with ``train`` and ``test``.
        config: Limits and number of jobs.
        out: CSV file for the findings; None writes none.
        on_progress: Called with the images done and all.

    Raises:
        InputError: There is no dataset.
    """
    result = Verification(findings=tuple(_verify(Path(dataset), config, on_progress)))
    if out is not None:
        try:
            write_atomic(out, findings_csv(result.findings))
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}).") from error
    return result
