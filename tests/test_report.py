"""The page from real folders of results: what is read, what is shown, what is refused."""

import base64
import csv
import io
import json
import os
import re
import shutil
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from test_detect import ByColour, blurred, scene
from test_movies import Inverting
from tiny_dataset import write_dataset

from gopro_tools.detect import DetectConfig, detect
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, evaluate
from gopro_tools.files import write_atomic
from gopro_tools.findings import is_findings_file
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.records import read_record
from gopro_tools.report import ReportConfig, report
from gopro_tools.report.command import command, size_hint
from gopro_tools.report.pictures import chosen_images
from gopro_tools.report.reading import read_comparisons, read_dataset
from gopro_tools.restoring import RestoreConfig, restore
from gopro_tools.sources import Sources, recall_sources
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.threads import no_progress
from gopro_tools.verify import verify
from gopro_tools.video_output import VideoWriter

HOSTILE = ("<img src=x onerror=alert(1)>", "a\"b'c&amp;", "new\nline", "$title ${x}", "\u202egnp")
"""Folder names that a page must show as text."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores and detections of two methods on images in hostile folders, by the commands' code."""
    root = tmp_path_factory.mktemp("results")
    for number, folder in enumerate(HOSTILE * 2):
        key = f"{folder}/{number:06d}.png"
        sharp = scene(number)
        images = {
            "sharp": sharp,
            "blurred": blurred(sharp, 5 + 2 * number),
            "better": blurred(sharp, 3),
            "worse": blurred(sharp, 31),
        }
        for kind, image in images.items():
            write_atomic(root / kind / key, encode_png(image))
    methods = tuple(f"{name}={root / name}" for name in ("better", "worse"))
    sources = Sources(sharp=root / "sharp", blurred=root / "blurred", restored=methods)
    config = EvaluateConfig(protocol=("psnr_rgb", "ssim_gauss"), jobs=1)
    evaluate(sources, config, out=root / "scores")
    detect(
        sources,
        DetectConfig(detector="none", n_resamples=10, overlays=0),
        out=root / "detection",
        detector=ByColour(),
    )
    return root


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_csv_files(results: Path, tmp_path: Path) -> None:
    index = report([results / "scores", results / "detection"], tmp_path / "page")
    data = data_of(index)
    assert len(data["collections"]) == 1, "both folders are of the same images"
    shown = data["collections"][0]
    assert [m["name"] for m in shown["metrics"]][:2] == ["psnr_rgb", "ssim_gauss"]
    at = {key: i for i, key in enumerate(shown["keys"])}
    n_compared = 0
    for name in ("scores/per_image.csv", "detection/detection_per_image.csv"):
        for row in rows(results / name):
            i = at[f"{row['sequence']}/{row['name']}"]
            for metric in set(row) & set(shown["scores"]):
                expected = float(row[metric]) if row[metric] else None
                assert shown["scores"][metric][row["method"]][i] == expected
                n_compared += 1
    assert n_compared == 10 * (3 * 2 + 4 * 6)
    means = {
        (r["method"], r["metric"]): float(r["mean"]) for r in rows(results / "scores/summary.csv")
    }
    table = next(t for t in data["tables"] if "psnr_rgb" in t["headings"][0]["lines"])
    for line in table["rows"]:
        for heading, cell in zip(table["headings"], line["cells"], strict=True):
            if (line["method"], heading["lines"][1]) in means and cell:
                assert cell["value"] == means[line["method"], heading["lines"][1]]


def test_what_speaks_against_results_is_on_the_page(results: Path, tmp_path: Path) -> None:
    sources = Sources(
        sharp=results / "sharp",
        blurred=results / "blurred",
        restored=(f"copied={results / 'sharp'}",),
    )
    evaluate(sources, EvaluateConfig(protocol=("psnr_rgb",), jobs=1), out=tmp_path / "scores")
    data = data_of(report([tmp_path / "scores"], tmp_path / "page"))
    notes = data["collections"][0]["notes"]
    assert "Doubtful: copied: 10 of 10 images are the sharp ones themselves." in notes


def test_the_recorded_table_1_becomes_a_page(tmp_path: Path) -> None:
    """Records that are published hold no images: their scores, lengths of blur and plots do."""
    recorded = Path(__file__).resolve().parent.parent / "results/runs/table1"
    data = data_of(report([recorded], tmp_path / "page"))
    n_compared = 0
    for path in recorded.glob("*/*/scores/per_image.csv"):
        lengths = {
            f"{row['sequence']}/{row['name']}": float(row["blur_px"])
            for row in rows(path.parent.parent / "blur_lengths.csv")
        }
        found = [c for c in data["collections"] if set(c["keys"]) == set(lengths)]
        assert len(found) == 1
        at = {key: i for i, key in enumerate(found[0]["keys"])}
        assert found[0]["facts"]["blur_px"] == [lengths[key] for key in found[0]["keys"]]
        for row in rows(path):
            value = found[0]["scores"]["psnr_rgb"][row["method"]]
            assert value[at[f"{row['sequence']}/{row['name']}"]] == float(row["psnr_rgb"])
            n_compared += 1
    assert n_compared >= 100


def test_trainings_and_restorings_are_shown_as_they_are_recorded(tmp_path: Path) -> None:
    recorded = Path(__file__).parent.parent / "results" / "runs" / "train" / "deepdeblur-k2"
    photos = tmp_path / "photos"
    write_atomic(photos / "a.png", encode_png(scene(0)))
    method = RestoreConfig(method="mine", restorer=Inverting(), code_sha256="1")
    restore(photos, method, out=tmp_path / "restored")
    data = data_of(report([recorded, tmp_path / "restored"], tmp_path / "page"))
    assert (data["tables"], data["collections"], data["datasets"]) == ([], [], [])
    trainings = [run for run in data["runs"] if run["facts"]["run"] == "train"]
    folders = {json.loads(p.read_text())["made_utc"]: p.parent for p in recorded.rglob("run.json")}
    assert len(trainings) == len(folders) >= 3
    n_validated = 0
    for run, (_, folder) in zip(trainings, sorted(folders.items()), strict=True):
        record = read_record(folder)
        for name in {"validation_psnr_rgb_db", "n_patches"} & record.results.keys():
            assert f"{name} {record.results[name]:.6g}" in run["facts"]["results"]
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        gains = [
            [e["step"], e["validation_psnr_rgb_db"] - e["validation_blurred_psnr_rgb_db"]]
            for e in log
            if "validation_psnr_rgb_db" in e
        ]
        n_validated += bool(gains)
        assert (run["curve"]["points"] if gains else run["curve"]) == (gains or None)
    assert n_validated >= 3
    (restoring,) = (run for run in data["runs"] if run["facts"]["run"] == "restore")
    assert restoring["facts"]["method"] == "mine"
    assert "n_images 1" in restoring["facts"]["results"]


def test_a_folder_page_carries_exact_copies_under_names_of_its_own(
    results: Path, tmp_path: Path
) -> None:
    index = report([results / "scores"], tmp_path / "page")
    shown = data_of(index)["collections"][0]
    assert shown["methods"] == ["sharp", "blurred", "better", "worse"]
    for method in shown["methods"]:
        for key, url in zip(shown["keys"], shown["urls"][method], strict=True):
            assert re.fullmatch(r"images/0-\d{6}-\d\.png", url)
            assert (index.parent / url).read_bytes() == (results / method / key).read_bytes()
    assert all((index.parent / url).stat().st_size < 40_000 for url in shown["thumbs"])


def test_hostile_names_cannot_leave_the_data(results: Path, tmp_path: Path) -> None:
    title = "</title><script>alert(1)</script>\n$data"
    index = report([results / "scores"], tmp_path / "page", ReportConfig(title=title))
    text = index.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("<script") == 2
    assert "</title><script>" not in text
    assert "script-src 'sha256-" in text.replace("&#x27;", "'")
    assert data_of(index)["title"] == title
    assert {key.rpartition("/")[0] for key in data_of(index)["collections"][0]["keys"]} == set(
        HOSTILE
    )


def test_boxes_are_judged_as_the_scores_were(results: Path, tmp_path: Path) -> None:
    index = report([results / "detection"], tmp_path / "page")
    shown = data_of(index)["collections"][0]
    at = {key: i for i, key in enumerate(shown["keys"])}
    names = {"tp": "matched", "fn": "missed", "fp": "false"}
    n_boxes = 0
    for row in rows(results / "detection/detection_per_image.csv"):
        boxes = shown["boxes"]["by_method"][row["method"]][at[f"{row['sequence']}/{row['name']}"]]
        for column, kind in names.items():
            assert sum(box[0] == kind for box in boxes) == int(row[column])
        n_boxes += len(boxes)
    assert n_boxes > 40
    sweep = [
        r
        for r in rows(results / "detection/detection_sweep.csv")
        if r["reference_confidence"] == "0.25"
    ]
    assert [r["recall"] for r in shown["sweep"]] == [float(r["recall"]) for r in sweep]


def test_one_file_holds_a_spread_of_images_and_all_scores(results: Path, tmp_path: Path) -> None:
    config = ReportConfig(single_file=True, max_images=3)
    index = report([results / "scores"], tmp_path / "page.html", config)
    assert index == tmp_path / "page.html"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    shown = data_of(index)["collections"][0]
    urls = shown["urls"]["better"]
    assert sum(url is not None for url in urls) == 3
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls if url)
    assert len(shown["scores"]["psnr_rgb"]["better"]) == 10
    assert "3 of 10 images can be opened; scores cover all." in shown["notes"]
    gains = np.subtract(
        shown["scores"]["psnr_rgb"]["better"], shown["scores"]["psnr_rgb"]["blurred"]
    )
    gains += np.subtract(
        shown["scores"]["psnr_rgb"]["worse"], shown["scores"]["psnr_rgb"]["blurred"]
    )
    chosen = [i for i, url in enumerate(urls) if url]
    assert {int(gains.argmin()), int(gains.argmax())} <= set(chosen)


def test_images_that_moved_are_named_or_said_to_be_missing(results: Path, tmp_path: Path) -> None:
    scores = tmp_path / "moved"
    scores.mkdir()
    for path in (results / "scores").iterdir():
        if path.name != "images.json":
            (scores / path.name).write_bytes(path.read_bytes())
    (collection,) = read_comparisons([scores], None)
    assert not collection.paths
    assert "only scores are shown" in collection.notes[0]
    given = Sources(sharp=results / "sharp", blurred=results / "blurred")
    (collection,) = read_comparisons([scores], given)
    assert set(collection.paths) == {"sharp", "blurred"}
    assert all(collection.paths["sharp"])


def test_images_that_changed_since_they_were_scored_are_named(
    results: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(results, copied)
    (before,) = read_comparisons([copied / "scores"], None)
    assert not any("have changed" in note for note in before.notes)
    for path in (copied / "worse").rglob("*.png"):
        path.write_bytes((copied / "better" / path.relative_to(copied / "worse")).read_bytes())
    (after,) = read_comparisons([copied / "scores"], None)
    (note,) = set(after.notes) - set(before.notes)
    assert note.startswith("worse: the images have changed since they were scored (")
    assert before.scores == after.scores


def test_sources_are_kept_relative_and_move_with_their_images(
    results: Path, tmp_path: Path
) -> None:
    stored = json.loads((results / "scores/images.json").read_text())
    assert stored["sharp"] == "../sharp"
    assert stored["restored"] == {"better": "../better", "worse": "../worse"}
    (results / "scores").rename(results / "elsewhere")
    recalled = recall_sources(results / "elsewhere")
    (results / "elsewhere").rename(results / "scores")
    assert recalled is not None
    assert recalled[0].sharp == results / "sharp"
    (tmp_path / "images.json").write_text('{"restored": 3}')
    with pytest.raises(InputError, match="damaged"):
        recall_sources(tmp_path)


def test_scores_without_a_record_are_shown_but_not_compared(results: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    for path in (results / "scores").iterdir():
        if path.name != "run.json":
            (scores / path.name).write_bytes(path.read_bytes())
    data = data_of(report([scores], tmp_path / "page"))
    assert data["tables"] == []
    assert "no run.json" in data["notes"][0]
    assert len(data["collections"][0]["keys"]) == 10


def test_folders_that_disagree_are_refused(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "scores"
    other.mkdir()
    for path in (results / "scores").iterdir():
        data = path.read_bytes()
        if path.name == "per_image.csv":
            first = rows(path)[0]["psnr_rgb"]
            data = data.replace(first.encode(), b"12.5", 1)
        (other / path.name).write_bytes(data)
    with pytest.raises(InputError, match="two values of psnr_rgb"):
        read_comparisons(
            [results / "scores", other],
            Sources(sharp=results / "sharp", blurred=results / "blurred"),
        )


def test_a_dataset_shows_pairs_facts_rejections_and_findings(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=(3,), test=(2,), size_hw=(96, 128))
    lines = ["split,sequence,name,n_frames,blur_px,hash_sharp"]
    lines += [f"train,GOPR0001_11_00,{i:06d}.png,11,{i}.5,abc" for i in (1, 2)]
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    (root / "rejected.csv").write_text(
        'split,sequence,name,source,reason\ntrain,GOPR0001_11_00,,a.mp4,"cut <b>"\n'
    )
    (root / "test/GOPR0002_11_00/blur_gamma/000002.png").unlink()
    view = read_dataset(root, blur_kind=None, check=True, on_progress=no_progress)
    assert view.splits == {"train": {"GOPR0001_11_00": 3}, "test": {"GOPR0002_11_00": 1}}
    train = view.collections[0]
    assert train.facts == {"n_frames": [11.0, 11.0, None], "blur_px": [1.5, 2.5, None]}
    assert train.labels["blur_kind"] == "gamma"
    assert view.findings is not None
    assert any(f.check == "missing" and f.name == "000002.png" for f in view.findings)
    index = report([root], tmp_path / "page")
    (dataset,) = data_of(index)["datasets"]
    assert dataset["rejected"] == [
        {"split": "train", "sequence": "GOPR0001_11_00", "name": "", "source": "a.mp4",
         "reason": "cut <b>"}
    ]  # fmt: skip
    assert len(dataset["findings"]) == len(view.findings)
    assert len(data_of(index)["collections"]) == 2
    (test,) = (c for c in data_of(index)["collections"] if "test" in c["title"])
    assert test["remarks"] == {"0": ["error, manifest: the image is not in manifest.csv"]}
    header, _, body = dataset["animation"].partition(",")
    assert header == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as animation:
        assert animation.n_frames == 8, "blurred and sharp of each of 4 pairs"
        assert animation.info["loop"] == 0
        assert animation.size == (480, 360 + 22)
        frames = []
        for i in range(2):
            animation.seek(i)
            frames.append(np.array(animation.convert("L"))[22:])
    sharpness = [cv2.Laplacian(cv2.resize(f, (128, 96)), cv2.CV_16S).var() for f in frames]
    assert sharpness[0] < sharpness[1]


def write_video(path: Path, frames: list[Rgb]) -> Path:
    with VideoWriter(
        path, size_hw=frames[0].shape[:2], seconds_per_tick=Fraction(1, 25), lossless=True
    ) as writer:
        for tick, frame in enumerate(frames):
            writer.write(frame, tick)
    return path


def test_videos_are_shown_frame_by_frame_and_as_a_loop(tmp_path: Path) -> None:
    frames = [scene(number) for number in range(30)]
    clip = write_video(tmp_path / "<clip>.mkv", frames)
    mine = write_video(tmp_path / "mine.mkv", [255 - frame for frame in frames])
    config = ReportConfig(blurred=clip, restored=(f"mine={mine}",), max_images=4)
    page = report([], tmp_path / "page", config)
    (collection,) = data_of(page)["collections"]
    assert collection["title"] == "<clip>.mkv"
    assert collection["keys"] == [f"frame {index:06d}" for index in (0, 10, 19, 29)]
    assert collection["facts"]["time_s"] == [0, 0.4, 0.76, 1.16]
    for index, url in zip((0, 10, 19, 29), collection["urls"]["mine"], strict=True):
        np.testing.assert_array_equal(read_rgb(page.parent / url), 255 - frames[index])
    loop = Image.open(io.BytesIO(base64.b64decode(collection["animation"].partition(",")[2])))
    height, width = frames[0].shape[:2]
    assert (loop.n_frames, loop.size) == (24, (2 * width, 28 + height))
    assert loop.info["loop"] == 0
    assert collection["timeline"] is None
    assert collection["scores"] == {}
    short = write_video(tmp_path / "short.mkv", frames[:7])
    for options, message in (
        ({"restored": (f"mine={short}",)}, "frames 7, but .* has 30"),
        ({"restored": (f"mine={tmp_path}",)}, "videos were expected"),
        ({}, "name a restored one"),
    ):
        with pytest.raises(InputError, match=message):
            report([], tmp_path / "page", ReportConfig(blurred=clip, **options))
    assert page.is_file()  # the one before is whole


def test_videos_with_a_sharp_one_are_scored_frame_by_frame(tmp_path: Path) -> None:
    sharp = [scene(number) for number in range(12)]
    noise = np.random.default_rng(0)
    versions = {
        name: [
            np.clip(frame + noise.normal(0, sigma, frame.shape), 0, 255).astype(np.uint8)
            for frame in sharp
        ]
        for name, sigma in (("blurred", 20), ("good", 5), ("bad", 40))
    }
    versions["good"][3] = sharp[3]  # infinite
    files = {
        name: write_video(tmp_path / f"{name}.mkv", frames)
        for name, frames in {"sharp": sharp, **versions}.items()
    }
    config = ReportConfig(
        blurred=files["blurred"],
        sharp=files["sharp"],
        restored=tuple(f"{name}={files[name]}" for name in ("good", "bad")),
        max_images=3,
    )
    data = data_of(report([], tmp_path / "page", config))
    (collection,), (table,) = data["collections"], data["tables"]
    expected = {
        name: [float(psnr_rgb(a, b)) for a, b in zip(sharp, frames, strict=True)]
        for name, frames in versions.items()
    }
    assert collection["timeline"]["times_s"] == [round(i / 25, 4) for i in range(12)]
    for name, values in expected.items():
        in_json = ["inf" if np.isinf(value) else value for value in values]
        assert collection["timeline"]["by_method"][name] == in_json
        shown = [in_json[index] for index in (0, 6, 11)]
        assert collection["scores"]["psnr_rgb"][name] == shown
    cells = {row["method"]: row["cells"][0] for row in table["rows"]}
    assert cells["bad"]["value"] == pytest.approx(np.mean(expected["bad"]))
    assert [name for name, cell in cells.items() if cell["best"]] == ["good"]
    assert "Best restored value bold" in table["title"]
    alone = ReportConfig(
        blurred=files["blurred"], sharp=files["sharp"], restored=(f"bad={files['bad']}",)
    )
    (table,) = data_of(report([], tmp_path / "alone", alone))["tables"]
    assert not any(row["cells"][0]["best"] for row in table["rows"])
    assert "bold" not in table["title"]


def test_one_method_is_not_called_the_best(results: Path, tmp_path: Path) -> None:
    methods = (f"better={results / 'better'}",)
    sources = Sources(sharp=results / "sharp", blurred=results / "blurred", restored=methods)
    evaluate(sources, EvaluateConfig(protocol=("psnr_rgb",), jobs=1), out=tmp_path / "scores")
    (table,) = data_of(report([tmp_path / "scores"], tmp_path / "page"))["tables"]
    assert "bold" not in table["title"]
    assert not any(cell["best"] for row in table["rows"] for cell in row["cells"])
    both = data_of(report([results / "scores"], tmp_path / "both"))["tables"][0]
    assert "Best restored value bold" in both["title"]
    assert any(cell["best"] for row in both["rows"] for cell in row["cells"])


def test_the_csv_of_a_check_is_shown_and_marks_the_pairs(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=(3,), test=(1,), size_hw=(96, 128))
    folder = root / "train" / "GOPR0001_11_00"
    (folder / "blur_gamma/000002.png").write_bytes((folder / "sharp/000002.png").read_bytes())
    (root / "test/GOPR0002_11_00/blur_gamma/000001.png").write_bytes(b"no image")
    found = verify(root, out=tmp_path / "kept" / "findings.csv")
    assert any(finding.name == "000002.png" for finding in found)
    for given in (tmp_path / "kept", tmp_path / "kept" / "findings.csv"):
        data = data_of(report([root, given], tmp_path / "page", ReportConfig(check=False)))
        (check,) = data["checks"]
        assert check["name"] == "findings.csv"
        assert check["findings"] == [asdict(finding) for finding in found]
    train = next(c for c in data["collections"] if "train" in c["title"])
    messages = [
        f"{f.severity}, {f.check}: {f.message}" for f in found
        if (f.split, f.name) == ("train", "000002.png")
    ]  # fmt: skip
    assert train["remarks"] == {"1": messages}
    alone = data_of(report([tmp_path / "kept"], tmp_path / "alone"))
    assert len(alone["checks"]) == 1
    assert command((tmp_path / "kept",), tmp_path / "without_images") == 0
    checked = data_of(report([root], tmp_path / "anew"))  # the same, by a check of its own
    assert next(c for c in checked["collections"] if "train" in c["title"])["remarks"]
    (tmp_path / "kept/findings.csv").write_text(
        "severity,check,split,sequence,name,message\nfatal,x,,,,y\n"
    )
    with pytest.raises(InputError, match="severity fatal; error, warning, info were expected"):
        report([tmp_path / "kept"], tmp_path / "page")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"no CSV of gopro_tools\.verify"):
        report([other], tmp_path / "page")


def test_a_large_page_says_how_to_make_it_smaller(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = report([results / "scores"], tmp_path / "page")
    assert size_hint(index, ReportConfig()) == ""
    monkeypatch.setattr("gopro_tools.report.command.LARGE_MB", 0.001)
    assert size_hint(index, ReportConfig()).endswith(
        "MB; --images compressed or --max-images N makes it smaller."
    )
    alone = ReportConfig(single_file=True)
    index = report([results / "scores"], tmp_path / "alone.html", alone)
    assert size_hint(index, alone).endswith("MB; --max-images N makes it smaller.")


def test_the_loop_of_a_synthesized_dataset_is_shown(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    write_video(clip, [scene(0) for _ in range(11)])
    config = SynthesisConfig(fps=240, check=False)
    synthesize([clip], config, out=tmp_path / "data", jobs=1)
    loop = (tmp_path / "data/preview.webp").read_bytes()
    with Image.open(io.BytesIO(loop)) as animation:
        assert (animation.n_frames, animation.info["loop"]) == (2, 0)
    assert "`preview.webp`" in (tmp_path / "data/README.md").read_text()
    (dataset,) = data_of(report([tmp_path / "data"], tmp_path / "page"))["datasets"]
    assert base64.b64decode(dataset["animation"].partition(",")[2]) == loop


def test_only_a_page_is_overwritten(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    report([results / "scores"], out)
    keep = out / "images" / "holiday.jpg"
    keep.write_bytes(b"mine")
    report([results / "scores"], out, ReportConfig(max_images=1))
    assert keep.read_bytes() == b"mine"
    assert len(list((out / "images").iterdir())) == 1 + 4 + 1
    site = tmp_path / "site"
    (site / "images").mkdir(parents=True)
    (site / "index.html").write_text("<html>my site</html>")
    with pytest.raises(InputError, match="not a page"):
        report([results / "scores"], site)
    assert (site / "index.html").read_text() == "<html>my site</html>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "absent", "no such folder"),
        (lambda p: p, "no per_image.csv"),
    ],
)
def test_what_holds_nothing_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        report([make(tmp_path)], tmp_path / "page")


def test_an_unreadable_image_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    broken = tmp_path / "data"
    write_dataset(broken, train=(3,), test=())
    path = broken / "train/GOPR0001_11_00/blur_gamma/000002.png"
    path.write_bytes(b"")
    index = report([broken], tmp_path / "page", ReportConfig(check=False, images="compressed"))
    shown = data_of(index)["collections"][0]
    assert [url is None for url in shown["urls"]["blurred"]] == [False, True, False]
    assert any("000002.png" in note for note in shown["notes"])
    restored = read_rgb(tmp_path / "page" / shown["urls"]["sharp"][0])
    original = read_rgb(broken / "train/GOPR0001_11_00/sharp/000001.png")
    assert np.abs(restored.astype(int) - original).mean() < 4


def test_images_are_spread_where_there_are_no_scores(results: Path) -> None:
    (collection,) = read_comparisons([results / "scores"], None)
    collection.scores.clear()
    assert chosen_images(collection, 4) == [0, 3, 6, 9]
    assert chosen_images(collection, None) == list(range(10))


def test_a_pipe_is_neither_results_nor_findings(tmp_path: Path) -> None:
    """Opening one waits until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe")
    assert not is_findings_file(tmp_path / "pipe")
