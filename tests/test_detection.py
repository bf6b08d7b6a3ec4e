"""Boxes, matching and scores: hand-made cases, pycocotools, and what must hold for any boxes."""

import contextlib
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gopro_tools.detection import (
    Detections,
    DetectionStore,
    DetectorIdentity,
    Outcomes,
    References,
    StoredDetections,
    StoredImage,
    average_precision,
    box_iou,
    counts_at,
    judge,
    match,
    most_confident,
    outcomes_of,
    read_detections,
    read_labels,
    references_from,
    scores,
    write_detections,
)
from gopro_tools.detection.packed import PackedDetections
from gopro_tools.detection.rows import summary_rows
from gopro_tools.detection.scoring import interval, resampled_images
from gopro_tools.detection.stored import storable
from gopro_tools.errors import InputError
from gopro_tools.images import encode_png, pixel_hash
from gopro_tools.sources import BLURRED, SHARP

NAMES = ("car", "person", "bus")
IDENTITY = DetectorIdentity(weights_sha256="0" * 64, input_size_px=64, runtime="none")
Box = tuple[float, float, float, float]


def found(*rows: tuple[Box, float, int]) -> Detections:
    """Detections from (box, score, class) rows."""
    return Detections(
        box_xyxy=np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        score=np.array([row[1] for row in rows], np.float32),
        class_id=np.array([row[2] for row in rows], np.int64),
    )


def expected(*rows: tuple[Box, int], crowd: tuple[int, ...] = ()) -> References:
    """References from (box, class) rows, those at `crowd` being crowds."""
    n = len(rows)
    return References(
        box_xyxy=np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        class_id=np.array([row[1] for row in rows], np.int64),
        is_crowd=np.isin(np.arange(n), crowd),
        too_small=np.zeros(n, bool),
    )


def random_found(
    rng: np.random.Generator, n: int, *, whole_px: bool = False, n_scores: int = 0
) -> Detections:
    """Boxes that overlap a lot; on whole pixels and with few scores there are many ties."""
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(4, 40, (n, 2))
    score = rng.uniform(0.05, 1, n)
    if whole_px:
        corner, size = np.round(corner / 4) * 4, np.maximum(4, np.round(size / 4) * 4)
    if n_scores:
        score = rng.integers(1, n_scores + 1, n) / n_scores
    return storable(
        Detections(
            box_xyxy=np.hstack([corner, corner + size]).astype(np.float32),
            score=score.astype(np.float32),
            class_id=rng.integers(0, len(NAMES), n),
        )
    )


def random_expected(rng: np.random.Generator, n: int, *, whole_px: bool = False) -> References:
    boxes = random_found(rng, n, whole_px=whole_px)
    return References(
        box_xyxy=boxes.box_xyxy,
        class_id=boxes.class_id,
        is_crowd=rng.random(n) < 0.2,
        too_small=np.zeros(n, bool),
    )


def judged(
    references: list[References], candidates: list[Detections], min_area_px: float = 0
) -> Outcomes:
    return outcomes_of(
        references, candidates, n_classes=len(NAMES), iou=0.5, min_area_px=min_area_px
    )


A: Box = (0, 0, 20, 20)
A_HALF: Box = (0, 0, 20, 10)  # IoU with A exactly 0.5
A_NEAR: Box = (2, 0, 22, 20)
FAR: Box = (50, 50, 80, 80)


class TestBoxes:
    @pytest.mark.parametrize(
        ("a", "b", "iou"),
        [
            (A, A, 1.0),
            (A, FAR, 0.0),
            (A, A_HALF, 0.5),
            (A, (20, 0, 40, 20), 0.0),  # touching edges share no area
            ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
            ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),
        ],
    )
    def test_iou_by_hand(self, a: Box, b: Box, iou: float) -> None:
        assert box_iou(np.array([a], np.float32), np.array([b], np.float32))[0, 0] == iou

    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 8), m=st.integers(0, 8))
    @settings(deadline=None)
    def test_iou_is_symmetric_and_in_the_unit_interval(self, seed: int, n: int, m: int) -> None:
        rng = np.random.default_rng(seed)
        a, b = random_found(rng, n).box_xyxy, random_found(rng, m).box_xyxy
        iou = box_iou(a, b)
        assert iou.shape == (n, m)
        assert ((iou >= 0) & (iou <= 1)).all()
        np.testing.assert_array_equal(iou, box_iou(b, a).T)
        np.testing.assert_array_equal(np.diag(box_iou(a, a)), np.ones(n))

    def test_a_crowd_is_overlapped_by_all_inside_it(self) -> None:
        whole, inside = np.array([[0, 0, 100, 100]]), np.array([[10, 10, 20, 20]])
        iou = box_iou(inside.astype(np.float32), whole.astype(np.float32), np.array([True]))
        assert iou[0, 0] == 1

    @pytest.mark.parametrize(
        ("box", "score", "class_id"),
        [
            ([[10, 0, 0, 10]], [0.5], [0]),
            ([[0, 0, np.nan, 10]], [0.5], [0]),
            ([[0, 0, 10, 10]], [1.5], [0]),
            ([[0, 0, 10, 10]], [np.nan], [0]),
            ([[0, 0, 10, 10]], [0.5], [-1]),
            ([[0, 0, 10, 10]], [0.5, 0.6], [0]),
        ],
    )
    def test_what_is_no_detection_is_refused(
        self, box: list[list[float]], score: list[float], class_id: list[int]
    ) -> None:
        with pytest.raises(ValueError, match=r"boxes|scores"):
            Detections(box_xyxy=np.array(box), score=np.array(score), class_id=np.array(class_id))

    def test_at_most_100_of_a_class_and_the_best_of_them(self) -> None:
        rng = np.random.default_rng(0)
        many = random_found(rng, 250)
        kept = most_confident(many)
        assert (np.diff(kept.score) <= 0).all()
        for class_id in range(len(NAMES)):
            own = np.sort(many.score[many.class_id == class_id])[::-1]
            np.testing.assert_array_equal(kept.score[kept.class_id == class_id], own[:100])


# name, references, candidates -> TP, FP, FN at IoU 0.5
CASES: list[tuple[str, References, Detections, tuple[int, int, int]]] = [
    ("perfect", expected((A, 0)), found((A, 0.9, 0)), (1, 0, 0)),
    ("nothing found", expected((A, 0), (FAR, 1)), found(), (0, 0, 2)),
    ("nothing there", expected(), found((A, 0.9, 0)), (0, 1, 0)),
    ("empty image", expected(), found(), (0, 0, 0)),
    ("wrong class", expected((A, 0)), found((A, 0.9, 1)), (0, 1, 1)),
    ("too far", expected((A, 0)), found((FAR, 0.9, 0)), (0, 1, 1)),
    ("exactly at the threshold", expected((A, 0)), found((A_HALF, 0.9, 0)), (1, 0, 0)),
    ("duplicate", expected((A, 0)), found((A, 0.9, 0), (A_NEAR, 0.8, 0)), (1, 1, 0)),
    ("duplicate of equal score", expected((A, 0)), found((A, 0.9, 0), (A, 0.9, 0)), (1, 1, 0)),
    ("one for two", expected((A, 0), (A_NEAR, 0)), found((A, 0.9, 0)), (1, 0, 1)),
    ("equal references", expected((A, 0), (A, 0)), found((A, 0.9, 0), (A, 0.8, 0)), (2, 0, 0)),
    # The surer one takes A, which it overlaps more, and leaves the other to the second.
    (
        "best overlap first",
        expected((A_NEAR, 0), (A, 0)),
        found((A, 0.9, 0), ((4, 0, 24, 20), 0.8, 0)),
        (2, 0, 0),
    ),
    # Greedy: the surer box takes the reference that the other one fits better.
    (
        "greedy by score, not by overlap",
        expected((A, 0)),
        found((A, 0.5, 0), (A_HALF, 0.6, 0)),
        (1, 1, 0),
    ),
    ("crowds count for nothing", expected((A, 0), crowd=(0,)), found((A, 0.9, 0)), (0, 0, 0)),
    (
        "a crowd takes any number",
        expected(((0, 0, 90, 90), 0), crowd=(0,)),
        found((A, 0.9, 0), (FAR, 0.8, 0), (A, 0.7, 1)),
        (0, 1, 0),
    ),
    (
        "an object before a crowd",
        expected((A_HALF, 0), ((0, 0, 90, 90), 0), crowd=(1,)),
        found((A, 0.9, 0), (A, 0.8, 0)),
        (1, 0, 0),
    ),
    ("below the confidence", expected((A, 0)), found((A, 0.2, 0)), (0, 0, 1)),
]


class TestMatching:
    @pytest.mark.parametrize(
        ("references", "candidates", "counts"),
        [case[1:] for case in CASES],
        ids=[case[0] for case in CASES],
    )
    def test_known_counts(
        self, references: References, candidates: Detections, counts: tuple[int, int, int]
    ) -> None:
        total = counts_at(judged([references], [candidates]), 0.25)
        assert (int(total.tp), int(total.fp), int(total.fn)) == counts

    def test_which_reference_is_taken(self) -> None:
        references = expected((A, 0), (A_NEAR, 0), (FAR, 0))
        candidates = found((A_NEAR, 0.9, 0), (A, 0.8, 0), (A, 0.7, 0))
        assert match(references, candidates, [0.5, 0.99]).tolist() == [[1, 0, -1], [1, 0, -1]]

    def test_small_boxes_are_ignored_on_both_sides(self) -> None:
        small, just_big = (0, 0, 15, 15), (0, 0, 16, 16)
        sharp = found((small, 0.9, 0), (FAR, 0.9, 0))
        references = references_from(sharp, confidence=0.25, min_area_px=256)
        assert references.counts.tolist() == [False, True]
        # A small reference found a little larger, an unmatched small box: no mistakes.
        candidates = found((just_big, 0.9, 0), ((90, 90, 95, 95), 0.8, 1))
        verdict = judge(references, candidates, [0.5], min_area_px=256)
        assert verdict.tolist() == [[-1, -1]]
        # A reference just above the minimum may be found just below it.
        references = references_from(found((just_big, 0.9, 0)), confidence=0.25, min_area_px=256)
        verdict = judge(references, found((small, 0.9, 0)), [0.5], min_area_px=256)
        assert verdict.tolist() == [[1]]

    @given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.05, 1))
    @settings(deadline=None, max_examples=50)
    def test_weak_candidates_never_change_the_strong(self, seed: int, threshold: float) -> None:
        rng = np.random.default_rng(seed)
        references = random_expected(rng, 12, whole_px=True)
        candidates = most_confident(random_found(rng, 20, whole_px=True))
        strong = candidates.score >= threshold
        everything = match(references, candidates, [0.5, 0.75])[:, strong]
        alone = match(references, candidates.select(strong), [0.5, 0.75])
        np.testing.assert_array_equal(everything, alone)

    @given(seed=st.integers(0, 2**32 - 1), min_area_px=st.sampled_from([0, 200, 600]))
    @settings(deadline=None, max_examples=50)
    def test_an_image_against_itself_is_exactly_perfect(
        self, seed: int, min_area_px: float
    ) -> None:
        rng = np.random.default_rng(seed)
        sharp = [
            most_confident(random_found(rng, n, whole_px=True, n_scores=5)) for n in (9, 0, 14)
        ]
        references = [
            references_from(image, confidence=0.25, min_area_px=min_area_px) for image in sharp
        ]
        outcomes = judged(references, sharp, min_area_px)
        if not len(outcomes.reference_image):
            return
        values = {name: float(value[0]) for name, value in scores(outcomes, 0.25).items()}
        assert values == dict.fromkeys(values, 1.0)


def with_pycocotools(
    references: list[References], candidates: list[Detections]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """COCO's own answer: its first three summary numbers, and AP as (10, classes)."""

    def xywh(box: NDArray[np.float32]) -> list[float]:
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, x2 - x1, y2 - y1]

    boxes: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for image_id, (wanted, got) in enumerate(zip(references, candidates, strict=True), start=1):
        for box, class_id, crowd in zip(
            wanted.box_xyxy, wanted.class_id, wanted.is_crowd, strict=True
        ):
            bbox = xywh(box)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": int(crowd),
                }
            )
        results += [
            {"image_id": image_id, "category_id": int(c), "bbox": xywh(box), "score": float(s)}
            for box, s, c in zip(got.box_xyxy, got.score, got.class_id, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(references))],
            "annotations": boxes,
            "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES)],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, 2]  # (T, R, K), area all, 100 boxes
    by_class = np.where(precision.min(axis=1) < 0, np.nan, precision.mean(axis=1))
    return run.stats[:3], by_class


class TestAveragePrecision:
    @pytest.mark.parametrize("seed", range(12))
    def test_equals_pycocotools(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        ties = seed % 2 == 0
        n_images = int(rng.integers(1, 25))
        references, candidates = [], []
        for _ in range(n_images):
            wanted = random_expected(rng, int(rng.integers(0, 9)), whole_px=ties)
            near = random_found(rng, len(wanted.class_id), n_scores=7 if ties else 0)
            moved = wanted.box_xyxy + np.round(rng.normal(0, 2, wanted.box_xyxy.shape))
            moved[:, 2:] = np.maximum(moved[:, :2] + 1, moved[:, 2:])
            guesses = random_found(rng, int(rng.integers(0, 6)), whole_px=ties)
            references.append(wanted)
            candidates.append(
                Detections(
                    box_xyxy=np.vstack([moved, guesses.box_xyxy]),
                    score=np.concatenate([near.score, guesses.score]),
                    class_id=np.concatenate([wanted.class_id, guesses.class_id]),
                )
            )
        outcomes = judged(references, candidates)
        summary, by_class = with_pycocotools(references, candidates)
        own = scores(outcomes, 0.25)
        names = ("map50_95", "ap50", "ap75")
        np.testing.assert_allclose([own[name][0] for name in names], summary, atol=1e-6)
        np.testing.assert_allclose(average_precision(outcomes)[0], by_class, atol=1e-6)
        assert 0.05 < own["map50_95"][0] < 0.95  # a comparison of zeros would show nothing

    def test_equals_pycocotools_beyond_100_boxes(self) -> None:
        rng = np.random.default_rng(3)
        references = [random_expected(rng, 60)]
        moved = references[0].box_xyxy.repeat(8, axis=0) + rng.normal(0, 2, (480, 4))
        moved[:, 2:] = np.maximum(moved[:, :2] + 1, moved[:, 2:])
        candidates = [
            storable(
                Detections(
                    box_xyxy=moved.astype(np.float32),
                    score=rng.random(480).astype(np.float32),
                    class_id=references[0].class_id.repeat(8),
                )
            )
        ]
        summary, _ = with_pycocotools(references, candidates)
        own = scores(judged(references, candidates), 0.25)["map50_95"][0]
        assert own == pytest.approx(summary[0], abs=1e-6)

    def test_by_hand(self) -> None:
        # TP, FP, TP of two references: precision 1 up to recall 0.5, then 2/3.
        references = [expected((A, 0), (FAR, 0))]
        candidates = [found((A, 0.9, 0), ((0, 90, 20, 99), 0.8, 0), (FAR, 0.7, 0))]
        expected_ap = (51 * 1 + 50 * 2 / 3) / 101
        assert average_precision(judged(references, candidates))[0, 0, 0] == pytest.approx(
            expected_ap
        )

    def test_a_class_without_reference_is_left_out(self) -> None:
        outcomes = judged([expected((A, 0))], [found((A, 0.9, 0), (FAR, 0.9, 1))])
        assert np.isnan(average_precision(outcomes)[0, :, 1:]).all()
        assert scores(outcomes, 0.25)["map50_95"][0] == 1.0


class TestScores:
    def test_micro_and_per_image_by_hand(self) -> None:
        references = [expected((A, 0), (FAR, 0)), expected((A, 0)), expected(), expected()]
        candidates = [
            found((A, 0.9, 0)),  # P 1, R 1/2, F1 2/3
            found((FAR, 0.9, 0)),  # P 0, R 0, F1 0
            found((FAR, 0.9, 0)),  # no reference: P 0 counts, R does not, F1 0
            found(),  # nothing to find and nothing found: counts nowhere
        ]
        values = {
            name: float(value[0])
            for name, value in scores(judged(references, candidates), 0.25).items()
        }
        assert values["precision"] == pytest.approx(1 / 3)
        assert values["recall"] == pytest.approx(1 / 3)
        assert values["f1"] == pytest.approx(2 / 6)
        assert values["precision_per_image"] == pytest.approx((1 + 0 + 0) / 3)
        assert values["recall_per_image"] == pytest.approx((1 / 2 + 0) / 2)
        assert values["f1_per_image"] == pytest.approx((2 / 3 + 0 + 0) / 3)

    def test_undefined_is_nan_not_zero(self) -> None:
        values = scores(judged([expected((A, 0))], [found()]), 0.25)
        assert np.isnan(values["precision"][0])
        assert values["recall"][0] == 0
        assert values["ap50"][0] == 0

    def test_an_image_that_counts_twice_is_the_image_given_twice(self) -> None:
        rng = np.random.default_rng(5)
        references = [random_expected(rng, 8) for _ in range(6)]
        candidates = [random_found(rng, 12) for _ in range(6)]
        weight = np.array([[2.0, 0, 1, 3, 0, 1]])
        repeated = [i for i, n in enumerate(weight[0]) for _ in range(int(n))]
        weighted = scores(judged(references, candidates), 0.25, weight)
        plain = scores(
            judged([references[i] for i in repeated], [candidates[i] for i in repeated]), 0.25
        )
        for name in plain:
            assert weighted[name][0] == pytest.approx(plain[name][0], abs=1e-12), name

    def test_intervals_do_not_depend_on_how_the_draws_are_cut(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rng = np.random.default_rng(5)
        references = [random_expected(rng, 8) for _ in range(20)]
        methods = {
            name: judged(references, [random_found(rng, 12) for _ in references])
            for name in (SHARP, BLURRED)
        }
        whole = summary_rows(methods, 0.25, np.arange(20), n_resamples=50, seed=3)
        monkeypatch.setattr("gopro_tools.bootstrap._CELLS_AT_ONCE", 90)
        cut = summary_rows(methods, 0.25, np.arange(20), n_resamples=50, seed=3)
        pd.testing.assert_frame_equal(cut, whole, rtol=1e-12)

    def test_bootstrap_is_repeatable_and_covers_the_value(self) -> None:
        weight = resampled_images(20, 500, seed=1)
        np.testing.assert_array_equal(weight.sum(axis=1), np.full(500, 20))
        np.testing.assert_array_equal(weight, resampled_images(20, 500, seed=1))
        rng = np.random.default_rng(2)
        references = [random_expected(rng, 8) for _ in range(20)]
        candidates = [
            Detections(
                box_xyxy=np.vstack([image.box_xyxy[:6] + 1, random_found(rng, 4).box_xyxy]),
                score=rng.uniform(0.2, 1, 10).astype(np.float32),
                class_id=np.append(image.class_id[:6], [0, 1, 2, 0]),
            )
            for image in references
        ]
        outcomes = judged(references, candidates)
        for name, value in scores(outcomes, 0.25).items():
            low, high = interval(scores(outcomes, 0.25, weight)[name])
            assert low < value[0] < high, name


class TestPacked:
    def test_boxes_come_back_as_they_were(self) -> None:
        rng = np.random.default_rng(0)
        boxes = [random_found(rng, n) for n in (5, 0, 3)]
        packed = PackedDetections(boxes)
        assert len(packed) == 3
        for one, again in zip(boxes, packed, strict=True):
            np.testing.assert_array_equal(again.box_xyxy, one.box_xyxy)
            np.testing.assert_array_equal(again.score, one.score)
            np.testing.assert_array_equal(again.class_id, one.class_id)
        assert [len(one) for one in packed[1:]] == [0, 3]
        assert len(packed[-1]) == 3
        with pytest.raises(IndexError):
            packed[3]

    def test_ten_boxes_cost_an_image_less_than_300_bytes(self) -> None:
        found = random_found(np.random.default_rng(0), 10)
        tracemalloc.start()
        try:
            packed = PackedDetections(found for _ in range(5_000))
            n_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(packed) == 5_000
        assert n_bytes < 300 * 5_000


class TestStore:
    def test_boxes_come_back_exactly_and_pycocotools_reads_them(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        boxes = {f"{i:06d}.png": random_found(rng, n) for i, n in enumerate((5, 0, 3))}
        stored = StoredDetections(
            name="net.onnx",
            identity=IDENTITY,
            class_names=NAMES,
            images={
                key: StoredImage(pixels=key * 2, size_hw=(100, 120), found=image)
                for key, image in boxes.items()
            },
        )
        write_detections(tmp_path / "a.json", stored)
        again = read_detections(tmp_path / "a.json")
        assert (again.name, again.identity, again.class_names) == ("net.onnx", IDENTITY, NAMES)
        for key, image in boxes.items():
            read = again.images[key]
            assert (read.pixels, read.size_hw) == (key * 2, (100, 120))
            np.testing.assert_array_equal(read.found.box_xyxy, image.box_xyxy)
            np.testing.assert_array_equal(read.found.score, image.score)
            np.testing.assert_array_equal(read.found.class_id, image.class_id)
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(tmp_path / "a.json"))
        assert len(coco.getAnnIds()) == 8
        assert coco.loadCats([1])[0]["name"] == "person"

    def test_another_network_or_size_is_another_folder(self, tmp_path: Path) -> None:
        store = DetectionStore(tmp_path, "net.onnx", IDENTITY)
        store.add("a.png", "pixels", found((A, 0.9, 0)), NAMES)
        store.close()
        assert "pixels" in DetectionStore(tmp_path, "net.onnx", IDENTITY)
        for other in (
            DetectorIdentity(weights_sha256="1" * 64, input_size_px=64, runtime="none"),
            DetectorIdentity(weights_sha256="0" * 64, input_size_px=128, runtime="none"),
        ):
            assert "pixels" not in DetectionStore(tmp_path, "net.onnx", other)

    def test_boxes_of_another_program(self, tmp_path: Path) -> None:
        image = np.full((40, 50, 3), 90, np.uint8)
        (tmp_path / "photo.png").write_bytes(encode_png(image))
        document = {
            "images": [{"id": "x", "file_name": "photo.png"}],
            "annotations": [
                {"image_id": "x", "category_id": 18, "bbox": [1.5, 2, 10, 20], "score": 0.5}
            ],
            "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        }
        (tmp_path / "boxes.json").write_text(json.dumps(document))
        stored = read_detections(tmp_path / "boxes.json")
        assert stored.class_names == ("car", "dog")
        read = stored.images["photo.png"]
        assert read.pixels == pixel_hash(image)
        assert read.found.box_xyxy.tolist() == [[1.5, 2, 11.5, 22]]
        assert read.found.class_id.tolist() == [1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not JSON, or cut off"),
            ('{"images": [', "not JSON, or cut off"),
            ("[]", "found a list"),
            ('{"images": [], "annotations": []}', "found images, annotations"),
            ('{"images": [], "annotations": [], "categories": [{}]}', "needs `id` and `name`"),
            (
                '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "a"}],'
                ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]}',
                "found no 'score'",
            ),
            (
                '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "a"}],'
                ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 1],'
                ' "score": 0.5}]}',
                "negative size",
            ),
            (
                '{"images": [{"id": 1, "file_name": "missing.png"}], "categories": [],'
                ' "annotations": []}',
                "cannot be read",
            ),
        ],
    )
    def test_a_bad_file_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=message) as raised:
            read_detections(tmp_path / "bad.json")
        assert str(tmp_path) in str(raised.value)


SIZES = {"s1/000001.png": (100, 200), "s1/000002.png": (100, 200), "s2/000001.png": (100, 200)}


def coco_labels(names: list[str], **image: object) -> dict[str, list[dict[str, object]]]:
    return {
        "images": [{"id": i + 10, "file_name": name, **image} for i, name in enumerate(names)],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0},
            {"id": 2, "image_id": 10, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"id": 3, "image_id": 12, "category_id": 7, "bbox": [0, 0, 5, 5]},
        ][: 3 if len(names) > 2 else 2],
        "categories": [{"id": 7, "name": "person"}, {"id": 1, "name": "bus"}],
    }


class TestLabels:
    def read(
        self,
        path: Path,
        wanted: tuple[int, ...] = (0, 1, 2),
        sizes: dict[str, tuple[int, int]] = SIZES,
    ) -> list[References]:
        labels = read_labels(path, sizes, NAMES, wanted=wanted, min_area_px=256)
        return list(labels.references)

    @pytest.mark.parametrize(
        "names",
        [
            ["s1/000001.png", "s1/000002.png", "s2/000001.png"],
            ["s1/sharp/000001.jpg", "s1/sharp/000002.jpg", "s2/sharp/000001.jpg"],
            ["GOPRO\\test\\s1\\sharp\\000001.png", "000002.png", "/data/s2/000001.png"],
        ],
    )
    def test_coco(self, tmp_path: Path, names: list[str]) -> None:
        (tmp_path / "labels.json").write_text(json.dumps(coco_labels(names, height=100, width=200)))
        first, second, third = self.read(tmp_path / "labels.json")
        assert first.box_xyxy.tolist() == [[10, 20, 40, 60], [0, 0, 9, 9]]
        assert first.class_id.tolist() == [1, 2]
        assert first.counts.tolist() == [True, False]
        assert len(second.class_id) == 0
        assert third.counts.tolist() == [False]  # 25 px² is below the minimum
        assert self.read(tmp_path / "labels.json", wanted=(2,))[0].class_id.tolist() == [2]

    def test_yolo(self, tmp_path: Path) -> None:
        for name, text in {
            "s1/000001.txt": "1 0.125 0.4 0.15 0.4\n\n",
            "s1/000002.txt": "",
            "s2/000001.txt": "2 0.1 0.1 0.5 0.1 0.5 0.8\n",  # an outline: its bounding box
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        first, second, third = self.read(tmp_path)
        np.testing.assert_allclose(first.box_xyxy, [[10, 20, 40, 60]], rtol=1e-6)
        assert first.class_id.tolist() == [1]
        assert len(second.class_id) == 0
        np.testing.assert_allclose(third.box_xyxy, [[20, 10, 100, 80]], rtol=1e-6)
        (tmp_path / "classes.txt").write_text("van\nbus\ncar\n")
        (tmp_path / "s1/000002.txt").write_text("0 0.5 0.5 0.5 0.5")
        with pytest.raises(InputError, match="no class 'van'"):
            self.read(tmp_path)
        assert self.read(tmp_path, wanted=(2,))[0].class_id.tolist() == [2]

    def test_bad_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.json"
        names = list(SIZES)

        def refused(document: object, message: str) -> None:
            path.write_text(json.dumps(document))
            with pytest.raises(InputError, match=message):
                self.read(path)

        refused(coco_labels(names[:2]), r"1 of 3 images have no labels: s2/000001.png")
        refused(coco_labels(["000001.png", *names[1:]]), "fits 2 images")
        refused(coco_labels([*names, "other/s1/000001.png"]), "both label s1/000001.png")
        refused(coco_labels(names, height=720, width=1280), "is 1280x720 there, but .* 200x100")
        wrong = coco_labels(names)
        wrong["categories"][0]["name"] = "pedestrian"
        refused(wrong, "no class 'pedestrian'")
        wrong = coco_labels(names)
        wrong["annotations"][0]["bbox"] = [1, 2, 3]
        refused(wrong, "labels need")
        wrong["annotations"][0]["bbox"] = [1, 2, -3, 4]
        refused(wrong, "negative size")
        with pytest.raises(InputError, match="cannot be read"):
            self.read(tmp_path / "missing.json")

    @pytest.mark.parametrize(
        "line", ["0 10 20 30 40", "0 0.5 0.5 0.1", "9 .5 .5 .1 .1", "car 0 0 1 1"]
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "000001.txt").write_text(f"0 0.5 0.5 0.5 0.5\n{line}\n")
        with pytest.raises(InputError, match=r"000001\.txt, line 2: expected"):
            self.read(tmp_path, sizes={"000001.png": (10, 10)})
