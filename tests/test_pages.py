"""Pages of results say what their records say."""

from pathlib import Path

import pytest

from benchmarks.pages import filled, pages
from gopro_tools.errors import InputError

RESULTS = Path(__file__).resolve().parent.parent / "results"


def test_pages_are_what_the_records_give() -> None:
    made = pages(RESULTS)
    names = {path.relative_to(RESULTS).as_posix() for path in made}
    assert names >= {"speed.md", "plan.md", "interpolation.md", "miniature/README.md"}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text
    for heading in ("## Trainings", "## The claim about scales", "real pairs", "Gain by length"):
        assert heading in made[RESULTS / "miniature" / "README.md"]


def test_a_page_without_a_query_is_named(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Mine\n")
    with pytest.raises(InputError, match=r"README\.md: no query in it"):
        filled(page, RESULTS)
