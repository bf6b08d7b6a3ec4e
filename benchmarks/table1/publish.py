"""Results in the repository: made from records by a command, and checked to still say the same.

python -m benchmarks.table1.publish           # make pages, tables and figures
python -m benchmarks.table1.publish --check   # exit code 1 where a text differs from its record
"""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pages import draw, filled, pages
from gopro_tools.console import EXIT_FINDINGS, run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.records import RUN_FILE, check_files, iterate_runs, read_record

if TYPE_CHECKING:
    from benchmarks.table1.report import Report

SUITE = "table1"

_SCALES = ("full", "reduced", "smoke")


def latest_reports(results: Path) -> dict[str, "Report"]:
    """Of the newest record of each scale, from full to smoke.

    Raises:
        InputError: There is no record.
    """
    from benchmarks.table1.report import Report

    found = {run.scale: folder for folder, run in iterate_runs(results, SUITE)}
    if not found:
        raise InputError(f"{results / 'runs' / SUITE}: no record of table1 there.")
    return {scale: Report(found[scale]) for scale in _SCALES if scale in found}


def published_texts(results: Path, readme: Path) -> dict[Path, str]:
    """Every text that is made from a record, by the file it belongs in."""
    texts = {
        results / SUITE / scale / name: text
        for scale, report in latest_reports(results).items()
        for name, text in report.texts().items()
    }
    return texts | {readme: filled(readme, results), **pages(results)}


def differing(results: Path, readme: Path) -> list[Path]:
    """Files that do not say what their record says, or are missing."""
    return [
        path
        for path, text in published_texts(results, readme).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def unproven(results: Path) -> list[str]:
    """Files that differ from the record beside them, and tables that no record is about."""
    messages = []
    recorded = {results / SUITE / scale for scale in _SCALES}  # made from records
    for path in sorted(results.rglob(RUN_FILE)):
        recorded.add(path.parent)
        try:
            check_files(path.parent, read_record(path.parent))
        except InputError as error:
            messages.append(str(error))
    tables = (p for p in sorted(results.rglob("*.csv")) if recorded.isdisjoint(p.parents))
    return messages + [f"{path}: no {RUN_FILE} says how it was made." for path in tables]


def publish(results: Path, readme: Path) -> None:
    """Make the pages, their tables and their figures from the records."""
    from benchmarks.studies import readme_picture

    for scale, report in latest_reports(results).items():
        report.write(results / SUITE / scale)
    for path, text in published_texts(results, readme).items():
        write_atomic(path, text)
    draw(results)
    readme_picture.draw(results)


def command(
    check: bool = False, results: Path = Path("results"), readme: Path = Path("README.md")
) -> int:
    """Make the published pages, tables and figures from the records.

    Args:
        check: Change nothing; name what differs from its record, and tables without one.
        results: The folder above ``runs``, with pages in it.
        readme: The front page, which has queries too.
    """
    if not check:
        publish(results, readme)
        return 0
    messages = [
        f"{path}: differs from what its record says; `python -m benchmarks.table1.publish` makes "
        "it again."
        for path in differing(results, readme)
    ]
    messages += unproven(results)
    for message in messages:
        stderr.print(message, style="red")
    return EXIT_FINDINGS if messages else 0


if __name__ == "__main__":
    run_command(command)
