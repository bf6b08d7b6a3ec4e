import gc
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines import devices
from benchmarks.detection import BlurConfig
from benchmarks.keeping import keep_rows
from benchmarks.pages import draw, filled, pages, tables
from benchmarks.speed import blur as speed_blur
from benchmarks.speed import many as speed_many
from benchmarks.speed import schedule as speed_schedule
from benchmarks.speed import synthesize as speed_synthesize
from benchmarks.speed.__main__ import command as speed_command
from benchmarks.speed.timing import Timing, run_watched
from benchmarks.studies import detection, exposure_convergence, interpolation
from benchmarks.table1.publish import unproven
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.records import RunRecord, iterate_runs, jsonable, recorded_run, seal
from gopro_tools.scenes import write_video

PAGES = Path(__file__).parents[1] / "results"
SPEED_PAGE = (PAGES / "speed.md").read_text(encoding="utf-8")


def timing(name: str, seconds: float) -> Timing:
    return Timing(name=name, seconds=seconds, n_units=10, unit="frames")


def record_timings(results: Path, suite: str, timings: list[Timing], made: str) -> None:
    """As `benchmarks.speed --record` does."""
    record = RunRecord(
        suite=f"speed-{suite}",
        method="gopro_tools",
        config={"suite": suite},
        results={"timings": jsonable(timings)},
        machine={"cpu": "a processor", "n_cores": 2, "gpus": []},
        made_utc=f"{made}T00:00:00+00:00",
    )
    with recorded_run(results, record):
        pass


def shown(results: Path, name: str) -> str:
    """A page of the repository, filled from other records."""
    page = results / name
    shutil.copyfile(PAGES / name, page)
    return filled(page, results)


def test_ratios_say_how_many_times_as_fast_ours_is(tmp_path: Path) -> None:
    record_timings(tmp_path, "x", [timing("rival", 4.0), timing("ours", 0.5)], "2026-01-01")
    text = tables(tmp_path, "FROM ratios('x', ours := 'ours')")
    assert "| 8.00 |" in text
    assert "20.00 frames/s" in text
    assert "400.000 ms" in text  # 4 s of 10 frames: contenders do unequal amounts of work


def test_commands_are_measured_on_growing_datasets(tmp_path: Path) -> None:
    timings = speed_many.measure(sizes=(4, 6))
    assert [(timing.name, timing.n_units) for timing in timings] == [
        (name, n_pairs) for n_pairs in (4, 6) for name in ("verify", "evaluate", "detect")
    ]
    assert all(timing.peak_mib is not None and timing.peak_mib > 20 for timing in timings)
    record_timings(tmp_path, "many", timings, "2026-01-01")
    (query,) = re.findall(r"sql\n(SELECT[^>]*timings\('many'\).*?)\n-->", SPEED_PAGE, re.DOTALL)
    assert tables(tmp_path, query).count("\n| ") == 6


def test_tables_are_made_from_the_newest_record(tmp_path: Path) -> None:
    for moment, seconds in (("2026-01-02", 4.0), ("2026-01-01", 9.0)):
        timings = [timing(speed_synthesize.DECODE, seconds), timing(speed_synthesize.OURS, 5.0)]
        record_timings(tmp_path, "synthesize", timings, moment)
    text = tables(tmp_path, f"FROM ratios('synthesize', ours := '{speed_synthesize.OURS}')")
    assert "| 0.80 |" in text  # 4 s of decoding against our 5 s
    assert "2026-01-02" in tables(tmp_path, "FROM made('speed-synthesize')")


def test_a_suite_is_shown_and_its_record_fills_the_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = [timing("slow", 4.0), timing("fast", 0.5)]
    monkeypatch.setattr(speed_many, "measure", lambda: timings)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: sql\nFROM ratios('many')\n-->\n<!-- end -->\n")
    assert speed_command("many", results=tmp_path) == 0
    assert "| slow | 400.000 ms | 2.50 frames/s | 8.00 |" in capsys.readouterr().out
    assert not list(iterate_runs(tmp_path, "speed-many"))
    assert speed_command("many", record=True, results=tmp_path) == 0
    assert len(list(iterate_runs(tmp_path, "speed-many"))) == 1
    assert capsys.readouterr().out in page.read_text()


def test_a_block_says_which_query_of_which_page_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: sql\nSELECT * FROM 'runs/none.csv'\n-->\n<!-- end -->\n")
    with pytest.raises(InputError, match=r"page\.md: .*none\.csv"):
        pages(tmp_path)
    page.write_text("<!-- begin: sql\nSELECT 'A' AS heading, 1 AS n\n-->\nold\n<!-- end -->\n")
    assert "-->\nA\n\n| n |\n|---|\n| 1 |\n<!-- end -->" in pages(tmp_path)[page]


@pytest.mark.filterwarnings("ignore")  # Dask leaves sockets to the garbage collector
def test_scheduling_is_measured_and_a_plan_is_made_of_it(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    scheduled = speed_schedule.measure(n_sources=3)
    n_segments = {t.name: t.n_units for t in scheduled if t.unit == speed_schedule.SEGMENTS}
    assert n_segments == dict.fromkeys((*speed_schedule.ENGINES, speed_schedule.SLEEP), 32)
    record_timings(tmp_path, "schedule", scheduled, "2026-01-01")
    (query,) = re.findall(r"sql\n(WITH slept.*?)\n-->", SPEED_PAGE, re.DOTALL)
    body = tables(tmp_path, query).splitlines()[2:]
    assert [line.split(" | ")[0] for line in body] == [f"| {e}" for e in speed_schedule.ENGINES]
    made = [timing(speed_synthesize.DECODE, 4.0), timing(speed_synthesize.OURS, 5.0)]
    record_timings(tmp_path, "synthesize", made, "2026-01-01")
    page = shown(tmp_path, "plan.md")
    per_core_hz = made[1].rate / 2
    assert f"| core hours | {864e6 / per_core_hz / 3600:,.0f} |" in page
    assert (
        f"| the cores (decoding, averaging, PNG) | {864e6 / per_core_hz / 3600 / 800:.1f} |" in page
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_synthesis_is_timed_against_its_rivals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clip = tmp_path / "clip.mp4"
    frames = [rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(33)]
    write_video(clip, frames, 240)
    timings = speed_synthesize.measure(clip, n_repeats=1, jobs=1)
    gc.collect()  # imageio, a rival, leaves its pipes open: let that show here and nowhere else
    names = [item.name for item in timings]
    assert len(names) == len(set(names)) == 7
    assert all(item.seconds > 0 and item.n_units == 33 for item in timings)
    assert speed_synthesize.OURS in names


def test_tables_are_compared_with_their_records(tmp_path: Path) -> None:
    table = tmp_path / "detection" / "rows.csv"
    write_atomic(table, "a\n1\n")
    assert unproven(tmp_path) == [f"{table}: no run.json says how it was made."]
    seal(table.parent, RunRecord(suite="detection-over-blur", config={}))
    assert unproven(tmp_path) == []
    write_atomic(table, "a\n2\n")
    assert "not as the run wrote it" in unproven(tmp_path)[0]
    assert unproven(Path(__file__).parents[1] / "results") == []


def test_more_frames_come_nearer_to_the_continuous_exposure(tmp_path: Path) -> None:
    measured = exposure_convergence.measure(["coffee"], [300.0], size_hw=(90, 120))
    assert len(measured) == 2 * len(exposure_convergence.FRAME_COUNTS)
    clear = measured[~measured["highlights"]].set_index("n_frames")
    psnr_db = clear["psnr_gamma_db"]
    assert psnr_db[3] + 5 < psnr_db[11] < psnr_db[77]
    assert psnr_db[77] > clear["psnr_linear_crf_db"][77] + 5
    pytest.importorskip("matplotlib")
    keep_rows(measured, tmp_path, exposure_convergence.record())
    shutil.copyfile(PAGES / "README.md", tmp_path / "README.md")
    draw(tmp_path)
    assert (tmp_path / "exposure_convergence.png").stat().st_size > 10_000


class BrightSpots:
    """A detector of saturated squares: blur dims them, so that it must find fewer."""

    name = "bright-spots"
    class_names = ("spot",)
    identity = DetectorIdentity(weights_sha256="none", input_size_px=0, runtime="numpy")

    def detect(self, images: list[Rgb]) -> list[Detections]:
        import cv2

        results = []
        for image in images:
            bright = (image.min(axis=2) > 200).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
            boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area >= 300]
            results.append(
                Detections(
                    box_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
                    score=np.full(len(boxes), 0.9, np.float32),
                    class_id=np.zeros(len(boxes), np.int64),
                )
            )
        return results


def test_recall_falls_with_blur(tmp_path: Path) -> None:
    photograph = np.full((480, 640, 3), 40, np.uint8)
    for y in range(40, 440, 80):
        for x in range(40, 600, 80):
            photograph[y : y + 14, x : x + 14] = 235
    (tmp_path / "spots.png").write_bytes(encode_png(photograph))
    config = BlurConfig(
        photographs=(tmp_path / "spots.png",),
        detector="unused",
        out=tmp_path / "out",
        blur_px=(0, 64),
        shakes=1,
        resamples=20,
    )
    rows = detection.measure(config, BrightSpots())
    recall = dict(zip(rows["blur_px"], rows["recall"], strict=True))
    assert recall[0.0] == 1.0
    assert recall[64.0] < 0.5


def test_bf16_is_for_those_who_compute_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.computes_bf16(torch.device("cuda"))
    cpu = torch.device("cpu")
    monkeypatch.setattr(devices.torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not devices.computes_bf16(cpu)
    monkeypatch.setattr(devices.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for has in (True, False):
        monkeypatch.setattr(devices.torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert devices.computes_bf16(cpu) is has


def test_blocks_are_compiled_where_there_is_a_gpu_and_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for found in ("/usr/bin/clang", None):
        monkeypatch.setattr(devices.shutil, "which", lambda name, found=found: found)
        assert devices.can_compile(torch.device("cuda")) is (found is not None)
        assert not devices.can_compile(torch.device("cpu"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of colour-demosaicing, a rival
def test_the_blur_suite_times_interpolation_and_stages() -> None:
    timings = speed_blur.measure(n_repeats=1, size_hw=(96, 128))
    assert {timing.unit for timing in timings} == {"filled frames", "images"}
    assert timings[0].name == speed_blur.OURS_FILLED


def test_interpolation_is_measured_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = interpolation.measure(["coffee"], motions=["fast"], rates_hz=[60])
    by_name = rows[rows["noise"] == 0].set_index("contender")["psnr_db"]
    ours = {"ours x4", "ours x8", "ours x16"}
    assert set(by_name.index) == {"plain", interpolation.MINTERPOLATE, *ours}
    assert by_name["ours x8"] > by_name["plain"] + 4
    keep_rows(rows, tmp_path, interpolation.record())
    assert "| 60 | fast |" in shown(tmp_path, "interpolation.md")
    draw(tmp_path)
    assert (tmp_path / "interpolation.png").stat().st_size > 10_000
    assert (tmp_path / "interpolation_gain.png").stat().st_size > 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read on Linux alone")
def test_the_peak_of_a_program_is_its_own() -> None:
    ours = np.ones(2**25)  # 256 MiB, which the system would count as those of what we start
    small = run_watched("sh", "-c", "echo heard by nobody")
    large = run_watched(sys.executable, "-c", "len(b'x' * (100 * 2**20))")
    assert small < 40 < 100 < large < ours.nbytes / 2**20
    with pytest.raises(InputError, match="no such thing"):
        run_watched("sh", "-c", "echo no such thing >&2; exit 3")
