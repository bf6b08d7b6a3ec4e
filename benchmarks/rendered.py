"""A dataset where there is no GOPRO: rendered 240 fps clips of photographs, made into pairs.

    python -m benchmarks.rendered --scale reduced --out DATA --photographs FOLDER

Each clip shows a part of one photograph before a shaking camera, with cut-outs of others moving in
front (`gopro_tools.scenes`), at a speed of its own; `gopro_tools.synthesize` averages its frames. A
photograph is in one split only, and so are pictures that look alike. The result has the layout of
GOPRO_Large and, because everything is rendered, the length of each image's blur is known::

    DATA/{train,test}/<clip>_11_00/{sharp,blur_gamma}/000001.png
    DATA/motion.csv        split, sequence, name, blur_px, background_px, fastest_px
    DATA/rendered.json     settings, photographs with hashes, each clip's scene; written last

While it is made, the videos lie in ``DATA.clips/``.
"""

import csv
import io
import json
import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.dataset import Split
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, sha256_of_file, write_atomic
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_png
from gopro_tools.machine import versions
from gopro_tools.records import Scale, jsonable, to_json
from gopro_tools.scenes import PHOTOGRAPHS, Scene, SceneConfig, render_frames, write_video
from gopro_tools.scenes.recording import H264
from gopro_tools.scenes.textures import photograph_path, read_photograph
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.threads import n_cores

log = logging.getLogger(__name__)

RENDERED_FILE = "rendered.json"
MOTION_FILE = "motion.csv"
RENDERED_NAME = "rendered scenes"
"""What tables call such a dataset."""

RATE_HZ = 240.0
N_FRAMES = 11
"""Frames averaged, as in the whole test set of GOPRO_Large."""

# Several processes encode at once already; the encoder's own threads would only take turns. What
# x264 learns by looking ahead varies on a busy machine: with it 7 of 25 encodings of one clip
# differed, without it none.
# Small images have detail in every pixel, in colour too, which halved chroma and a customary rate
# would blur.
_ENCODING = replace(
    H264,
    pixel_format="yuv444p",
    crf=8,
    options={
        **H264.options,
        "threads": "1",
        "x264-params": "rc-lookahead=0:sync-lookahead=0:mbtree=0",
    },
)

_LEAST_TEXTURE = 0.15
_TEXTURED_CODES = 4.0  # a code value of slope, where a drawing's even areas have none
_ALIKE = 0.9
_THUMBNAIL_PX = 16
_VIEW_SHARE = (0.6, 1.0)  # of a photograph's sides that one clip shows
_LARGEST_VIEW_SIDES = 2.5  # of the frame's: more is detail that nobody sees
_N_WORKERS_LIMIT = 16


@dataclass(frozen=True, kw_only=True)
class RenderedConfig:
    """Which pairs to make."""

    n_train: int
    """Training pairs."""
    n_test: int
    """Test pairs."""
    pairs_per_clip: int = 10
    """Pairs made from a training clip; a test clip gives half as many, for variety."""
    size_hw: tuple[int, int] = (360, 640)
    """Height and width of the images."""
    speed_px_s: tuple[float, float] = (100.0, 500.0)
    """Slowest and fastest shake: clips are spread evenly over its logarithm, so that blur of every
    length is equally common. A pair is exposed for 11 / 240 s, so 200 px/s leave about 9 px."""
    n_objects: int = 3
    """Objects that move on their own."""
    photographs: tuple[str, ...] = ()
    """Files, folders of photographs, or names of those that come with scikit-image, which are taken
    where none is named."""
    test_photographs: tuple[str, ...] = ()
    """The same, for the test split alone; by default a fifth of ``photographs`` is kept for it."""
    seed: int = 0
    """Of all that is drawn."""

    def __post_init__(self) -> None:
        """Refuse what makes no dataset."""
        if min(self.n_train, self.n_test, self.pairs_per_clip) < 1:
            raise InputError("n_train, n_test and pairs_per_clip: at least 1 each was expected.")
        if not 0 < self.speed_px_s[0] <= self.speed_px_s[1]:
            raise InputError(f"speed_px_s {self.speed_px_s}: slowest and fastest were expected.")
        if any(side % 2 or side < 64 for side in self.size_hw):
            raise InputError(f"size_hw {self.size_hw}: even sides of at least 64 were expected.")


RENDERED: Mapping[Scale, RenderedConfig] = {
    "smoke": RenderedConfig(
        n_train=60, n_test=12, size_hw=(144, 256), pairs_per_clip=6, speed_px_s=(50.0, 300.0)
    ),
    # GOPRO_Large in miniature: every length is a quarter of its own, the blur's too, so that a
    # patch of 64 px holds what one of 256 px does there.
    "reduced": RenderedConfig(
        n_train=2000, n_test=120, size_hw=(180, 320), speed_px_s=(40.0, 200.0)
    ),
}
"""For each scale that does without GOPRO_Large."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A photograph that was not used."""

    why: str
    """The reason, with the photograph's name."""
    failed: bool = False
    """Whether it could not be read, which a user can mend; the others were not wanted."""

    def __str__(self) -> str:
        """The reason."""
        return self.why


@dataclass(frozen=True, kw_only=True)
class _Photograph:
    source: str
    split: Split
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """One clip to render."""

    name: str
    split: Split
    n_pairs: int
    scene: SceneConfig
    view_share: float
    flip: bool


def render_dataset(
    config: RenderedConfig,
    out: Path,
    *,
    jobs: int | None = None,
    on_progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Sequence[LeftOut]:
    """Render clips and make a dataset of them; interrupted, the same call goes on.

    Args:
        config: Which.
        out: Folder of the dataset; one that is complete and was made by the same config is kept.
        jobs: Processes; one a core by default. Scenes and their motion do not depend on it; what
            the videos' lossy compression leaves of a frame was seen to vary on a busy machine.
        on_progress: Called with the task (``rendering``, ``synthesizing``), parts done and all.

    Returns:
        Photographs that were left out, and why.

    Raises:
        InputError: Too few usable photographs, or ``out`` holds a dataset made otherwise.
    """
    record = out / RENDERED_FILE
    asked = jsonable(config)
    if record.is_file():
        made = json.loads(record.read_text())
        if made["config"] == asked:
            return [LeftOut(**reason) for reason in made["left_out"]]
        raise InputError(
            f"{out}: a dataset rendered with other settings lies there "
            f"({_differences(made['config'], asked)}); name another folder."
        )
    if out.is_dir() and any(out.iterdir()) and not _clip_folder(out).is_dir():
        raise InputError(f"{out}: holds something else; name an empty or new folder.")
    _clip_folder(out).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(_clip_folder(out) / ".lock", timeout=0):
            left_out = _render(config, out, jobs, on_progress)
    except Timeout as error:
        raise InputError(f"{out}: another process is rendering this dataset.") from error
    shutil.rmtree(_clip_folder(out))
    return left_out


def _clip_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.clips")


def blur_lengths(data: Path) -> dict[tuple[str, str], float] | None:
    """Known length of the blur of each image, mean over its pixels, in pixels.

    Args:
        data: A dataset.

    Returns:
        By sequence and image name; None where ``data`` was not rendered.
    """
    path = data / MOTION_FILE
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        return {
            (row["sequence"], row["name"]): float(row["blur_px"]) for row in csv.DictReader(file)
        }


def is_rendered(data: Path) -> bool:
    """Whether a dataset was made here."""
    return (data / RENDERED_FILE).is_file()


def training_photographs(data: Path) -> list[Path]:
    """The photographs that the training clips of a rendered dataset show, where they still lie.

    Args:
        data: A dataset; one that was not rendered has none.
    """
    path = data / RENDERED_FILE
    if not path.is_file():
        return []
    photographs = json.loads(path.read_text())["photographs"]
    sources = [each["source"] for each in photographs if each["split"] == "train"]
    return [found for source in sources if (found := photograph_path(source)).is_file()]


def _render(
    config: RenderedConfig,
    out: Path,
    jobs: int | None,
    on_progress: Callable[[str, int, int], None],
) -> Sequence[LeftOut]:
    photographs, left_out = _split_photographs(config)
    clips = _clips(config, photographs)
    folder = _clip_folder(out)
    _keep_only(folder, jsonable(clips))
    missing = [clip for clip in clips if not (folder / f"{clip.name}.csv").is_file()]
    n_done = len(clips) - len(missing)
    on_progress("rendering", n_done, len(clips))
    jobs = min(jobs or n_cores(), _N_WORKERS_LIMIT)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_render_clip, clip, folder) for clip in missing]
        try:
            for finished in as_completed(running):
                finished.result()
                n_done += 1
                on_progress("rendering", n_done, len(clips))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    summary = synthesize(
        [folder],
        out,
        SynthesisConfig(
            frames=str(N_FRAMES), kinds=("sharp", "blur_gamma"), test_recordings=("test_*",)
        ),
        jobs=jobs,
        progress=lambda done, total: on_progress("synthesizing", done, total),
    )
    if summary.failed or summary.damaged:
        raise InputError(
            f"{out}: {', '.join([*summary.failed, *summary.damaged])} cannot be read back; remove "
            f"these clips from {folder} with their CSV files, and start the same command again."
        )
    _collect_motion(out)
    write_atomic(
        out / RENDERED_FILE,
        to_json(
            {
                "config": jsonable(config),
                "photographs": jsonable(photographs),
                "clips": jsonable(clips),
                "left_out": jsonable(left_out),
                "versions": versions(),
            }
        ),
    )
    return left_out


def _keep_only(folder: Path, clips: Sequence[Mapping[str, Any]]) -> None:
    """Remove clips of an interrupted run with other settings: all of them are made anew."""
    record = folder / "clips.json"
    text = to_json({"clips": clips})
    if not record.is_file() or record.read_text() != text:
        for path in folder.glob("*_*.*"):
            path.unlink()
        write_atomic(record, text)


def _split_photographs(config: RenderedConfig) -> tuple[list[_Photograph], list[LeftOut]]:
    """Usable photographs with their split; those that look alike are taken once."""
    left_out: list[LeftOut] = []
    thumbnails: list[NDArray[np.float64]] = []
    found: list[_Photograph] = []
    named: list[tuple[tuple[str, ...], Split | None]] = [
        (config.test_photographs, "test"),
        (config.photographs or tuple(PHOTOGRAPHS), "train" if config.test_photographs else None),
    ]
    for sources, split in named:
        usable = []
        for source in _listed(sources):
            try:
                photograph = read_photograph(source)
            except InputError as error:
                left_out.append(LeftOut(why=str(error), failed=True))
                continue
            thumbnail = _thumbnail(photograph)
            if (share := _textured_share(photograph)) < _LEAST_TEXTURE:
                why = f"{source}: {share:.0%} of it has texture, {_LEAST_TEXTURE:.0%} are needed"
                left_out.append(LeftOut(why=why))
            elif any(float((thumbnail * other).sum()) > _ALIKE for other in thumbnails):
                left_out.append(LeftOut(why=f"{source}: looks like one that was taken already"))
            else:
                thumbnails.append(thumbnail)
                usable.append(str(source))
        if split is None:
            order = np.random.default_rng(config.seed).permutation(len(usable))
            n_test = max(1, len(usable) // 5)
            splits: list[Split] = ["train"] * len(usable)
            for index in order[:n_test]:
                splits[index] = "test"
        else:
            splits = [split] * len(usable)
        found += [
            _Photograph(source=source, split=each, sha256=_hash(source))
            for source, each in zip(usable, splits, strict=True)
        ]
    for split in ("train", "test"):
        if not any(photograph.split == split for photograph in found):
            raise InputError(
                f"no usable photograph for the {split} split; "
                + (
                    f"left out: {'; '.join(map(str, left_out))}"
                    if left_out
                    else "name more of them"
                )
            )
    return found, left_out


def _listed(sources: Iterable[str]) -> list[str]:
    """Names and files; folders are searched, the largest first, so that it stands for its like."""
    listed: list[str] = []
    for source in sources:
        if source in PHOTOGRAPHS:
            listed.append(source)
        elif Path(source).is_dir():
            files = [
                path
                for path in Path(source).rglob("*")
                if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            ]
            files.sort(key=lambda path: (-path.stat().st_size, natural_key(path.as_posix())))
            listed += [path.as_posix() for path in files]
        else:
            listed.append(str(Path(source)))
    return listed


def _hash(source: str) -> str:
    return "scikit-image" if source in PHOTOGRAPHS else sha256_of_file(Path(source))


def _textured_share(photograph: Rgb) -> float:
    """Share of the picture, seen 360 pixels high, with a slope that blur would show."""
    scale = min(1.0, 360 / photograph.shape[0])
    small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1)) / 8
    return float((slope > _TEXTURED_CODES).mean())


def _thumbnail(photograph: Rgb) -> NDArray[np.float64]:
    """Zero mean and unit length, so that products are correlations."""
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9))


def _clips(config: RenderedConfig, photographs: Sequence[_Photograph]) -> list[_Clip]:
    """What each clip shows and how fast it shakes."""
    rng = np.random.default_rng([config.seed, 1])
    clips: list[_Clip] = []
    splits: tuple[tuple[Split, int, int], ...] = (
        ("train", config.n_train, config.pairs_per_clip),
        ("test", config.n_test, max(1, config.pairs_per_clip // 2)),
    )
    for split, n_pairs, per_clip in splits:
        sources = [photograph.source for photograph in photographs if photograph.split == split]
        n_clips = -(-n_pairs // per_clip)
        slowest, fastest = config.speed_px_s
        place = (np.arange(n_clips) + rng.uniform(size=n_clips)) / n_clips
        speeds = rng.permutation(slowest * (fastest / slowest) ** place)
        for index, speed_px_s in enumerate(speeds):
            source = sources[index % len(sources)]
            others = tuple(other for other in sources if other != source) or (source,)
            scene = SceneConfig(
                seed=int(rng.integers(2**31)),
                size_hw=config.size_hw,
                photograph=source,
                object_photographs=others,
                n_objects=config.n_objects,
                shake_px_s=float(speed_px_s),
                object_speed_px_s=float(speed_px_s * rng.uniform(0.5, 1.5)),
            )
            clips.append(
                _Clip(
                    name=f"{split}_{index:04d}",
                    split=split,
                    n_pairs=min(per_clip, n_pairs - index * per_clip),
                    scene=scene,
                    view_share=float(rng.uniform(*_VIEW_SHARE)),
                    flip=bool(rng.integers(2)) and split == "train",
                )
            )
    return clips


def _render_clip(clip: _Clip, folder: Path) -> None:
    """Write a clip and, when it is whole, the known motion of its exposures."""
    cv2.setNumThreads(1)
    view = folder / f"{clip.name}.png"
    assert clip.scene.photograph is not None
    write_atomic(view, encode_png(_view(read_photograph(clip.scene.photograph), clip)))
    scene = Scene(replace(clip.scene, photograph=view))
    view.unlink()
    write_video(
        folder / f"{clip.name}.mp4",
        render_frames(scene, RATE_HZ, clip.n_pairs * N_FRAMES),
        RATE_HZ,
        _ENCODING,
    )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    for pair in range(clip.n_pairs):
        # Frames stand for the 1/240 s around them.
        middle_s = (pair * N_FRAMES + N_FRAMES // 2) / RATE_HZ
        blur_px, background = blur_map(scene, middle_s, N_FRAMES / RATE_HZ)
        of_background = blur_px[background] if background.any() else blur_px
        figures = (blur_px.mean(), of_background.mean(), np.percentile(blur_px, 99))
        table.writerow([pair + 1, *(f"{figure:.4f}" for figure in figures)])
    write_atomic(folder / f"{clip.name}.csv", text.getvalue())


def blur_map(
    scene: Scene, middle_s: float, exposure_s: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far the surface of each pixel of the sharp image moves while the shutter is open.

    Returns:
        (H, W) length of the way through the middle instant in pixels, and (H, W) whether the pixel
        shows the background.
    """
    ways = [
        np.linalg.norm(scene.flow(middle_s, middle_s + sign * exposure_s / 2), axis=2)
        for sign in (-1, 1)
    ]
    return np.sum(ways, axis=0, dtype=np.float64), scene.object_mask(middle_s) == 0


def _view(photograph: Rgb, clip: _Clip) -> Rgb:
    """The part of a photograph that a clip is about, at most a few times as large as its frames."""
    rng = np.random.default_rng(clip.scene.seed)
    height, width = (round(side * clip.view_share) for side in photograph.shape[:2])
    top = int(rng.integers(photograph.shape[0] - height + 1))
    left = int(rng.integers(photograph.shape[1] - width + 1))
    view = photograph[top : top + height, left : left + width]
    scale = max(
        limit * _LARGEST_VIEW_SIDES / side
        for limit, side in zip(clip.scene.size_hw, (height, width), strict=True)
    )
    if scale < 1:
        size_wh = (round(width * scale), round(height * scale))
        view = np.asarray(cv2.resize(view, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(view[:, ::-1] if clip.flip else view)


def _collect_motion(out: Path) -> None:
    """One table for the pairs that were made, as their windows are numbered."""
    rows = []
    with (out / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            clip = Path(row["source"]).stem
            with (_clip_folder(out) / f"{clip}.csv").open(newline="") as figures_file:
                figures = {int(number): rest for number, *rest in csv.reader(figures_file)}
            figure = figures[int(row["frame_start"]) // N_FRAMES + 1]
            rows.append([row["split"], row["sequence"], row["name"], *figure])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["split", "sequence", "name", "blur_px", "background_px", "fastest_px"])
    table.writerows(rows)
    write_atomic(out / MOTION_FILE, text.getvalue())


def _differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    keys = sorted(key for key in {*made, *asked} if made.get(key) != asked.get(key))
    return ", ".join(f"{key} {made.get(key)} there, {asked.get(key)} now" for key in keys)


def command(
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    scale: Scale = "reduced",
    photographs: tuple[str, ...] = (),
    test_photographs: tuple[str, ...] = (),
    seed: int = 0,
    n_train: int | None = None,
    n_test: int | None = None,
) -> int:
    """Render a dataset in the GOPRO_Large layout whose motion is known.

    Args:
        out: Folder of the dataset.
        scale: How many pairs, how large: smoke or reduced.
        photographs: Files, folders or names of scikit-image's to render; by default those that
            come with scikit-image.
        test_photographs: The same, for the test split alone; by default a fifth of the others.
        seed: Another seed renders other clips.
        n_train: Training pairs, in place of the scale's.
        n_test: Test pairs, in place of the scale's.
    """
    if scale not in RENDERED:
        raise InputError(f"--scale {scale}: expected {' or '.join(RENDERED)}; full is GOPRO_Large.")
    config = replace(
        RENDERED[scale], photographs=photographs, test_photographs=test_photographs, seed=seed
    )
    config = replace(config, n_train=n_train or config.n_train, n_test=n_test or config.n_test)
    with progress_bar("parts") as bar:
        task = bar.add_task("Rendering", total=None, rate="")

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name.capitalize(), completed=done, total=total)

        left_out = render_dataset(config, out, on_progress=show)
    for reason in left_out:
        stderr.print(f"left out: {reason}", markup=False, style="yellow")
    size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    stderr.print(
        f"{config.n_train} training and {config.n_test} test pairs in {out} "
        f"({size_mb / 1e6:.0f} MB); the length of their blur is in {out / MOTION_FILE}.",
        markup=False,
    )
    return EXIT_FINDINGS if any(reason.failed for reason in left_out) else 0


if __name__ == "__main__":
    run_command(command)
