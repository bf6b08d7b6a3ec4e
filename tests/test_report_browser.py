"""The page in a real browser: what a person clicks, and every number that is shown."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from PIL import Image
from test_detect import blurred, scene
from test_report import HOSTILE, data_of, results, rows, write_video
from tiny_dataset import write_dataset

from gopro_tools.images import read_rgb
from gopro_tools.report import ReportConfig, report
from gopro_tools.verify import verify

__all__ = ["results"]  # the fixture

reason = browser.absent()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "page"
    title = "<script>alert('title')</script>"
    folders = [results / "scores", results / "detection"]
    return report(folders, out, ReportConfig(title=title)).as_uri()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    with browser.watched_page(chromium, address, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


def scores(results: Path) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (row["method"], f"{row['sequence']}/{row['name']}"): row
        for row in rows(results / "scores/per_image.csv")
    }


def gains(results: Path, method: str) -> dict[str, float]:
    table = scores(results)
    return {
        key: float(row["psnr_rgb"]) - float(table["blurred", key]["psnr_rgb"])
        for (name, key), row in table.items()
        if name == method
    }


def wait_for_images(page: Any) -> None:
    """Until the browser has decoded all that the stage shows, or may be asked to show."""
    page.evaluate(
        "Promise.all([...document.querySelectorAll('.stage img[src]')].map(i => i.decode()))"
    )


def pixels_of(locator: Any) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def test_hostile_names_are_shown_as_text(page: Any) -> None:
    assert page.locator("h1").inner_text() == "<script>alert('title')</script>"
    text = " ".join(page.locator(".card b").all_inner_texts())
    for name in HOSTILE:
        assert name.replace("\n", "␊").replace("\u202e", "\\u202e") in text
    assert page.locator("main img").count() == 10, "thumbnails, and none that a name made"


def test_the_table_sorts_best_first_then_worst_first(page: Any, results: Path) -> None:
    table = page.locator("table.comparison").first
    means = {
        row["method"]: float(row["mean"])
        for row in rows(results / "scores/summary.csv")
        if row["metric"] == "psnr_rgb"
    }
    head = table.locator("thead button", has_text="PSNR")
    head.click()
    methods = table.locator("tbody th").all_inner_texts()
    assert [m for m in methods if m in means] == sorted(means, key=lambda m: -means[m])
    assert methods[-1] == "sharp", "no number comes last"
    head.click()
    methods = table.locator("tbody th").all_inner_texts()
    assert [m for m in methods if m in means] == sorted(means, key=lambda m: means[m])
    assert table.locator("th[aria-sort=ascending]").count() == 1


def test_images_are_sorted_by_gain_and_by_loss_and_found_by_name(page: Any, results: Path) -> None:
    page.select_option("select.method", "better")
    expected = sorted(gains(results, "better").items(), key=lambda item: -item[1])
    page.select_option("select.sort", "gain")
    shown = [card.get_attribute("data-key") for card in page.locator(".card").all()]
    assert shown == [key for key, _ in expected]
    page.select_option("select.sort", "loss")
    assert page.locator(".card").first.get_attribute("data-key") == expected[-1][0]
    page.fill("input[type=search]", "ONERROR")
    assert page.locator(".card").count() == 2


def test_every_score_in_the_viewer_is_that_of_the_csv(page: Any, results: Path) -> None:
    table = scores(results)
    page.locator(".card").first.click()
    dialog = page.locator("dialog")
    n_compared = 0
    for _ in range(10):
        key = dialog.locator("h2").inner_text().replace("␊", "\n").replace("\\u202e", "\u202e")
        heads = dialog.locator(".scores thead th").all_inner_texts()
        for line in dialog.locator(".scores tbody tr").all():
            method = line.locator("th").inner_text()
            values = [cell.get_attribute("data-value") for cell in line.locator("td").all()]
            for head, value in zip(heads[1:], values, strict=True):
                metric = head.split(" ")[0]
                if (method, key) in table and metric in table[method, key]:
                    assert float(value) == float(table[method, key][metric])
                    n_compared += 1
        page.keyboard.press("ArrowRight")
    assert n_compared == 10 * 3 * 2


def test_slider_menu_and_sharp_key_show_the_right_pixels(page: Any, results: Path) -> None:
    page.locator(".card", has_text="000003.png").click()
    key = f"{HOSTILE[3]}/000003.png"
    page.select_option("select.left", "blurred")
    page.select_option("select.right", "worse")
    stage = page.locator(".stage")
    wait_for_images(page)
    page.wait_for_function("document.querySelector('.stage').clientWidth > 300")
    for part in ("handle", "tag", "lens"):
        hide = "part => document.querySelectorAll('.stage .' + part).forEach(e => e.hidden = true)"
        page.evaluate(hide, part)

    size = (600, 360)

    def shown(method: str) -> np.ndarray:
        return np.array(Image.fromarray(read_rgb(results / method / key)).resize(size)).astype(int)

    def differ(part: slice, method: str) -> float:
        seen = np.array(Image.fromarray(pixels_of(stage).astype(np.uint8)).resize(size)).astype(int)
        return float(np.abs(seen - shown(method))[10:-10, part].mean())

    left, right = slice(10, 150), slice(450, 590)
    assert differ(left, "blurred") < differ(left, "worse")
    assert differ(right, "worse") < differ(right, "blurred")
    page.locator("input.range").fill("1000")
    assert differ(right, "blurred") < differ(right, "worse")
    page.locator("input.range").fill("0")
    assert differ(left, "worse") < differ(left, "blurred")
    stage.focus()
    page.keyboard.down("s")
    assert differ(left, "sharp") < 0.5 * differ(left, "worse")
    page.keyboard.up("s")
    assert differ(left, "worse") < differ(left, "sharp")
    page.keyboard.press("m")
    assert page.locator("select.right").input_value() == "sharp"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_dragging_the_handle_moves_the_border(page: Any) -> None:
    page.locator(".card").first.click()
    page.wait_for_function("document.querySelector('.stage').clientWidth > 300")
    box = page.locator(".stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    page.mouse.up()
    assert abs(int(page.locator("input.range").input_value()) - 800) < 15


def test_the_zoom_shows_one_region_of_all_methods_pixel_by_pixel(page: Any, results: Path) -> None:
    page.locator(".card", has_text="000004.png").click()
    page.wait_for_function("document.querySelector('.stage').clientWidth > 300")
    page.select_option("select.zoom", "4")
    key = f"{HOSTILE[4]}/000004.png"
    page.locator(".stage").click(position={"x": 200, "y": 160})
    page.wait_for_function(  # each canvas gets its size as its image is drawn
        """[...document.querySelectorAll('.zooms canvas')].every(
            c => c.width === Math.round(c.getBoundingClientRect().width * devicePixelRatio))"""
    )
    for canvas in page.locator(".zooms canvas").all():
        image = read_rgb(results / str(canvas.get_attribute("data-method")) / key).astype(int)
        shown = pixels_of(canvas)[2:-2, 2:-2]
        corners = shown[2::4, 2::4][:8, :8]
        height, width = image.shape[:2]
        errors = [
            np.abs(image[y : y + 8, x : x + 8] - corners).max()
            for y in range(height - 8)
            for x in range(width - 8)
        ]
        assert min(errors) <= 2, "each block of 4x4 screen pixels is one pixel of the image"
    assert page.locator(".zooms canvas").count() == 4


def test_boxes_are_drawn_where_the_detector_found_them(page: Any) -> None:
    page.locator(".card", has_text="000001.png").click()
    page.select_option("select.left", "sharp")
    assert page.locator(".stage rect").count() == 0
    page.locator("button.boxes").click()
    boxes = page.locator(".stage svg").first.locator("rect.box-matched")
    assert boxes.count() == 3
    # test_detect.scene(1) has a red car of 40x30 px at (15, 20)
    found = {
        tuple(float(b.get_attribute(n)) for n in ("x", "y", "width", "height")) for b in boxes.all()
    }
    assert (15.0, 20.0, 40.0, 30.0) in found


def test_plots_hold_the_numbers_of_the_csv(page: Any, results: Path) -> None:
    dots = [float(d.get_attribute("data-gain")) for d in page.locator("circle.dot").all()]
    expected = [*gains(results, "better").values(), *gains(results, "worse").values()]
    assert sorted(dots) == pytest.approx(sorted(expected), abs=1e-12)
    for path in page.locator("[data-plot=histogram] path").all():
        assert sum(map(int, path.get_attribute("data-counts").split())) == 10
    counts = page.locator("[data-plot=histogram] text[text-anchor=end]").all_text_contents()
    assert counts
    assert all(text.isdecimal() for text in counts), "half an image"
    sweep = rows(results / "detection/detection_sweep.csv")
    for line in page.locator("[data-plot=recall] polyline").all():
        method = line.get_attribute("data-method")
        recall = [
            float(row["recall"])
            for row in sweep
            if row["method"] == method and row["reference_confidence"] == "0.25"
        ]
        assert [float(part) for part in line.get_attribute("data-recall").split()] == recall
    page.locator("circle.dot").first.click(force=True)
    assert page.locator("dialog").is_visible()


def test_a_thousand_images_come_in_pages_and_load_as_they_are_needed(
    chromium: Any, tmp_path: Path
) -> None:
    root = write_dataset(tmp_path / "data", train=(1000,), test=(), size_hw=(16, 24))
    index = report([root], tmp_path / "page", ReportConfig(check=False))
    assert index.stat().st_size < 1_000_000
    loaded: list[str] = []
    context = chromium.new_context(viewport={"width": 1000, "height": 700})
    opened = context.new_page()
    opened.on("request", lambda request: loaded.append(request.url))
    opened.goto(index.as_uri())
    assert opened.locator(".card").count() == 24
    assert "1000 images, page 1 of 42" in opened.locator("[role=status]").inner_text()
    assert len(loaded) < 40
    opened.locator("button", has_text="next ▸").first.click()
    assert opened.locator(".card").first.get_attribute("data-key").endswith("000025.png")
    context.close()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (768, True), (1280, False)])
def test_nothing_is_wider_than_the_window(
    chromium: Any, address: str, width: int, dark: bool
) -> None:
    options = {
        "viewport": {"width": width, "height": 844},
        "color_scheme": "dark" if dark else "light",
        "has_touch": width < 500,
    }
    with browser.watched_page(chromium, address, **options) as opened:
        wide = "document.documentElement.scrollWidth - window.innerWidth"
        assert opened.evaluate(wide) <= 0
        paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)")
        opened.locator(".card").first.click()
        opened.wait_for_function("document.querySelector('.stage').clientWidth > 100")
        over = "document.querySelector('dialog').scrollWidth - window.innerWidth"
        assert opened.evaluate(over) <= 0


def test_scores_of_videos_are_drawn_over_time(chromium: Any, tmp_path: Path) -> None:
    frames = [scene(number) for number in range(4)]
    files = {
        name: write_video(tmp_path / f"{name}.mkv", made)
        for name, made in {
            "sharp": frames,
            "blurred": [blurred(frame, 9) for frame in frames],
            "mine": [blurred(frame, 3) for frame in frames],
        }.items()
    }
    config = ReportConfig(
        blurred=files["blurred"], sharp=files["sharp"], restored=(f"mine={files['mine']}",)
    )
    index = report([], tmp_path / "page", config)
    (collection,) = data_of(index)["collections"]
    with browser.watched_page(chromium, index.as_uri()) as page:
        paths = page.locator('[data-plot="timeline"] path')
        assert paths.count() == 2
        for path in paths.all():
            own = collection["timeline"]["by_method"][path.get_attribute("data-method")]
            assert [float(text) for text in path.get_attribute("data-scores").split()] == own
            assert path.get_attribute("d").count("L") == 3


def test_findings_mark_their_pairs(chromium: Any, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=(3,), test=(), size_hw=(64, 80))
    pair = root / "train/GOPR0001_11_00"
    (pair / "blur_gamma/000002.png").write_bytes((pair / "sharp/000002.png").read_bytes())
    verify(root, out=tmp_path / "kept" / "<i>found.csv")
    folders = [root, tmp_path / "kept"]
    index = report(folders, tmp_path / "page", ReportConfig(check=False))
    (collection,) = data_of(index)["collections"]
    with browser.watched_page(chromium, index.as_uri()) as page:
        assert page.locator("h2", has_text="Check: <i>found.csv").count() == 1
        page.locator("select.sort").select_option("remarks")
        assert page.locator(".card").first.get_attribute("data-key").endswith("000002.png")
        assert page.locator(".card .remarks").count() == 1
        page.locator(".card").first.click()
        notes = page.locator("dialog .scores .note").all_inner_texts()
        assert notes == collection["remarks"]["1"]


def test_one_file_works_alone(chromium: Any, results: Path, tmp_path: Path) -> None:
    index = report([results / "scores"], tmp_path / "alone.html", ReportConfig(single_file=True))
    with browser.watched_page(chromium, index.as_uri()) as opened:
        opened.locator(".card").first.click()
        opened.wait_for_function("document.querySelector('.stage img').naturalWidth === 200")
        assert "null" not in opened.locator("dialog").inner_text()
        assert "undefined" not in opened.locator("body").inner_text()


def test_trainings_are_drawn_per_method_and_reasons_are_counted_by_kind(
    chromium: Any, tmp_path: Path
) -> None:
    root = write_dataset(tmp_path / "data", train=(2,), test=(), size_hw=(64, 80))
    reasons = ["scene cut before frame 7", "scene cut before frame 12", "repeats frame 3"]
    lines = ["split,sequence,source,reason", *(f"train,GOPR0001_11_00,a.mp4,{r}" for r in reasons)]
    (root / "rejected.csv").write_text("\n".join(lines) + "\n")
    recorded = Path(__file__).parent.parent / "results" / "runs" / "train"
    index = report([root, recorded], tmp_path / "page", ReportConfig(check=False))
    with browser.watched_page(chromium, index.as_uri()) as page:
        table = page.locator("details", has=page.locator("summary", has_text="kinds of reason"))
        cells = table.locator("tbody td").all_inner_texts()
        assert cells == ["scene cut before frame …", "2", "repeats frame …", "1"]
        gains_of = {}
        for folder in recorded.rglob("log.jsonl"):
            log = [json.loads(line) for line in folder.read_text().splitlines()]
            gains_of[folder] = [
                e["validation_psnr_rgb_db"] - e["validation_blurred_psnr_rgb_db"]
                for e in log
                if "validation_psnr_rgb_db" in e
            ]
        plots = page.locator('[data-plot="curves"]')
        validated = {folder.parent.parent.name for folder, gains in gains_of.items() if gains}
        assert plots.count() == len(validated) > 1
        for folder, gains in gains_of.items():
            if not gains:  # a training without validation has no curve
                assert not page.locator(f'[data-label="{folder.parent.name}"]').count()
                continue
            line = page.locator(f'[data-label="{folder.parent.name}"]')
            shown = [float(gain) for gain in line.get_attribute("data-gain").split()]
            assert shown == pytest.approx(gains, rel=1e-12)
        assert plots.first.bounding_box()["width"] < 700
