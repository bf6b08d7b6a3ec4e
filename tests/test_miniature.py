"""The page on GOPRO in miniature says what its records say."""

from pathlib import Path

from benchmarks.studies.miniature import pages

RESULTS = Path(__file__).resolve().parent.parent / "results"


def test_the_page_is_what_the_records_give() -> None:
    ((path, made),) = pages(RESULTS).items()
    assert path.read_text(encoding="utf-8") == made
    for heading in ("## Trainings", "## The claim about scales", "real pairs", "Gain by length"):
        assert heading in made
