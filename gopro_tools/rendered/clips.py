"""What each clip of a rendered dataset shows, and rendering one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from gopro_tools.dataset import Split
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.records import Scale
from gopro_tools.scenes import PHOTOGRAPHS, Scene, SceneConfig, render_frames, write_video
from gopro_tools.scenes.photographs import LeftOut, PhotographChooser
from gopro_tools.scenes.recording import H264
from gopro_tools.scenes.textures import read_photograph
from gopro_tools.text import csv_text

RATE_HZ = 240.0
N_FRAMES = 11
"""Frames averaged, as in the whole test set of GOPRO_Large."""
FIGURES = ("blur_px", "background_px", "fastest_px")
"""What is known of the blur of a pair, in px: mean, mean over the background, 99th percentile."""

# Several processes encode at once already; the encoder's own threads would only take turns. What
# x264 learns by looking ahead varies on a busy machine: with it 7 of 25 encodings of one clip
# differed, without it none.
# Small images have detail in every pixel, in colour too, which subsampled chroma and a usual bit
# rate would blur.
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

_VIEW_SHARE = (0.6, 1.0)  # of a photograph's sides that one clip shows
_LARGEST_VIEW_SIDES = 2.5  # of the frame's: more would be detail beyond its pixels


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
    """Files, folders of photographs, or names of those that come with scikit-image, which are the
    default."""
    test_photographs: tuple[str, ...] = ()
    """The same, for the test split alone; by default a fifth of ``photographs`` is kept for it."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        """Refuse what cannot make a dataset."""
        if min(self.n_train, self.n_test, self.pairs_per_clip) < 1:
            raise InputError("n_train, n_test and pairs_per_clip: at least 1 each was expected.")
        if not 0 < self.speed_px_s[0] <= self.speed_px_s[1] < math.inf:
            raise InputError(f"speed_px_s {self.speed_px_s}: slowest and fastest were expected.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: at least 0 was expected.")
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
"""For each scale that does not need GOPRO_Large."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A photograph of the dataset."""

    source: str
    """Its name in `PHOTOGRAPHS`, or its file."""
    split: Split
    """The only split it is in."""
    sha256: str
    """SHA-256 of the file; ``scikit-image`` for a name."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip to render."""

    name: str
    """Stem of its files; it starts with the split."""
    split: Split
    """Of its pairs."""
    n_pairs: int
    """Exposures it lasts for."""
    scene: SceneConfig
    """What it shows and how it moves."""
    view_share: float
    """Fraction of the photograph's sides that is shown."""
    flip: bool
    """Whether the photograph is mirrored."""


def photographs_of(config: RenderedConfig) -> tuple[list[Photograph], list[LeftOut]]:
    """Usable photographs with their split, and those left out.

    Raises:
        InputError: A split has none.
    """
    chooser = PhotographChooser()
    test = list(chooser.choose(config.test_photographs))
    train = list(chooser.choose(config.photographs or PHOTOGRAPHS))
    chosen = [*_split(test, "test"), *_split(train, "train")]
    if not config.test_photographs:
        order = np.random.default_rng(config.seed).permutation(len(train))
        for index in order[: max(1, len(train) // 5)]:
            chosen[index] = replace(chosen[index], split="test")
    for split in ("train", "test"):
        if not any(photograph.split == split for photograph in chosen):
            reasons = "; ".join(map(str, chooser.left_out))
            advice = f"left out: {reasons}" if reasons else "name more of them"
            raise InputError(f"no usable photograph for the {split} split; {advice}")
    return chosen, chooser.left_out


def _split(sources: Iterable[str], split: Split) -> list[Photograph]:
    return [
        Photograph(
            source=source,
            split=split,
            sha256="scikit-image" if source in PHOTOGRAPHS else sha256_of_file(Path(source)),
        )
        for source in sources
    ]


def clips_of(config: RenderedConfig, photographs: Sequence[Photograph]) -> list[Clip]:
    """What each clip shows and how fast it shakes."""
    rng = np.random.default_rng([config.seed, 1])
    clips: list[Clip] = []
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
                Clip(
                    name=f"{split}_{index:04d}",
                    split=split,
                    n_pairs=min(per_clip, n_pairs - index * per_clip),
                    scene=scene,
                    view_share=float(rng.uniform(*_VIEW_SHARE)),
                    flip=bool(rng.integers(2)) and split == "train",
                )
            )
    return clips


def render_clip(clip: Clip, folder: Path) -> None:
    """Write NAME.mp4 and, once it is complete, NAME.csv: `FIGURES` of each exposure."""
    cv2.setNumThreads(1)
    view = folder / f"{clip.name}.png"
    assert clip.scene.photograph is not None
    write_atomic(view, encode_png(_view(read_photograph(clip.scene.photograph), clip)))
    scene = Scene(replace(clip.scene, photograph=view))
    view.unlink()
    frames = render_frames(scene, RATE_HZ, clip.n_pairs * N_FRAMES)
    write_video(folder / f"{clip.name}.mp4", frames, RATE_HZ, _ENCODING)
    rows = []
    for pair in range(clip.n_pairs):
        # Frames stand for the 1/240 s around them.
        middle_s = (pair * N_FRAMES + N_FRAMES // 2) / RATE_HZ
        blur_px, background = scene.blur_map(middle_s, N_FRAMES / RATE_HZ)
        of_background = blur_px[background] if background.any() else blur_px
        figures = (blur_px.mean(), of_background.mean(), np.percentile(blur_px, 99))
        rows.append([f"{figure:.4f}" for figure in figures])
    write_atomic(folder / f"{clip.name}.csv", csv_text(FIGURES, rows))


def _view(photograph: Rgb, clip: Clip) -> Rgb:
    """The part of a photograph that a clip shows, at most a few times as large as its frames."""
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
