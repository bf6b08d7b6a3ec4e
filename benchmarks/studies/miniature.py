"""The learning curves on the page on GOPRO in miniature."""

from pathlib import Path

from benchmarks.pages import frame
from gopro_tools.figures import new_figure

_CURVES = """
WITH
    logs AS (
        SELECT *, parse_dirpath(filename) AS place
        FROM read_json(
            ['runs/train/deepdeblur-*/*/log.jsonl', 'miniature/deepdeblur-k1-stopped.jsonl'],
            filename = true, union_by_name = true
        )
    ),
    curves AS (
        SELECT
            coalesce(method, 'deepdeblur-k1') AS method,
            CASE config.recipe.preset
                WHEN 'reduced' THEN 'full' WHEN 'reduced-cpu' THEN 'narrow' ELSE 'full, stopped'
            END AS network,
            coalesce(seed, 0) AS seed,
            step * 16 / 1000 AS patches,
            validation_psnr_rgb_db - validation_blurred_psnr_rgb_db AS gain
        FROM logs
        LEFT JOIN records('train') AS run ON suffix(logs.place, run.folder)
        WHERE gain IS NOT NULL AND config.started_from_sha256 IS NULL
    )
SELECT
    concat_ws(' ', method, network, seed) AS curve,
    CASE seed WHEN 0 THEN concat_ws(', ', method, network) ELSE '_' END AS label,
    'C' || (right(method, 1)::INT - 1) AS colour,
    CASE network WHEN 'narrow' THEN ':' WHEN 'full' THEN '-' ELSE '-.' END AS style,
    patches,
    gain
FROM curves
ORDER BY curve, patches
"""


def draw(results: Path) -> None:
    """Gain on validation scenes over patches seen, for each K."""
    page = results / "miniature" / "README.md"
    if not page.is_file():
        return
    figure = new_figure(8, 5)
    axes = figure.subplots(1, 1)
    for _, curve in frame(results, _CURVES).groupby("curve"):
        colour, style, label = curve[["colour", "style", "label"]].iloc[0]
        axes.plot(curve["patches"], curve["gain"], color=colour, linestyle=style, label=label)
    axes.set_xlabel("thousand patches seen")
    axes.set_ylabel("gain over blurred on validation scenes, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(page.with_name("curves.png"), dpi=100)
