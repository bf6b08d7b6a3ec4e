"""What a user can ask of a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.shape import convert_fields

if TYPE_CHECKING:
    from gopro_tools.sources import Sources

Quality = Literal["lossless", "compressed"]

IMAGE_FOLDER = "images"
"""Where the images lie in the folder of a page."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What to put on the page, and how."""

    title: str = "Deblurring results"
    """Heading of the page."""
    single_file: bool = False
    """Write one HTML file with everything in it, instead of a folder."""
    images: Quality | None = None
    """lossless copies the images as they are; compressed writes JPEG. By default lossless, or
    compressed in a single file."""
    max_images: int | None = None
    """Images per dataset and split, spread over the range of gains; by default all, or 24 in a
    single file. Scores and plots always cover all. For videos, frames; 24 by default."""
    check: bool = True
    """Check datasets as gopro_tools.verify does, and show what it finds."""
    blur_kind: BlurKind | None = None
    """Which blurred images of a dataset: gamma, where there are such, or linear_crf."""
    dataset: Path | None = None
    """Where the images of the scores lie, if they have moved: a dataset in the GOPRO layout."""
    split: Split = "test"
    """Split of --dataset."""
    sharp: Path | None = None
    """Where the images of the scores lie, if they have moved: folder of sharp images. Or a sharp
    video, where there is one."""
    blurred: Path | None = None
    """Folder of blurred images. Or a video, to show its frames beside those of restored videos."""
    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=DIR, once for each method; with --dataset, or --sharp and --blurred. Or NAME=VIDEO."""

    def __post_init__(self) -> None:
        """Refuse an invalid number of images, and restored images without their dataset."""
        convert_fields(self)
        if self.max_images is not None and self.max_images < 1:
            raise InputError(f"--max-images {self.max_images}: at least 1 expected.")
        if self.restored and not (self.dataset or self.blurred):
            raise InputError(
                "--restored needs --dataset, or --blurred (and --sharp, if there is one)."
            )

    @property
    def sources(self) -> "Sources | None":
        """Where the images lie, if the command line says so."""
        from gopro_tools.sources import Sources

        if self.videos or not (self.dataset or self.sharp or self.blurred):
            return None
        return Sources(
            dataset=self.dataset,
            split=self.split,
            blur_kind=self.blur_kind,
            sharp=self.sharp,
            blurred=self.blurred,
            restored=self.restored,
            allow_missing=True,
        )

    @property
    def videos(self) -> dict[str, Path]:
        """Method to video; empty where ``blurred`` is not a video.

        Raises:
            InputError: Videos and folders are mixed, or there is nothing beside the blurred video.
        """
        from gopro_tools.sources import BLURRED, SHARP, restored_folders
        from gopro_tools.video import VIDEO_SUFFIXES

        if self.blurred is None or self.blurred.suffix.lower() not in VIDEO_SUFFIXES:
            return {}
        videos = {BLURRED: self.blurred, **restored_folders(self.restored)}
        if self.sharp is not None:
            videos[SHARP] = self.sharp
        others = [str(path) for path in videos.values() if not path.is_file()]
        if others:
            raise InputError(
                f"{', '.join(others)}: no such file; beside the video {self.blurred} videos were "
                "expected."
            )
        if len(videos) < 2:
            raise InputError(
                f"--blurred {self.blurred}: name a restored one: --restored NAME=VIDEO."
            )
        return videos
