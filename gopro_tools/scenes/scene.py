"""Photographs and moving objects seen by a shaking camera, rendered in linear light."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.scenes.camera import Camera, Float, ObjectPath
from gopro_tools.scenes.config import SceneConfig
from gopro_tools.scenes.textures import (
    PHOTOGRAPHS,
    TEXELS_PER_PX,
    Texture,
    add_lights,
    background,
    cut_out,
    read_photograph,
)

Linear = NDArray[np.float32]
"""(H, W, 3) float32 RGB in linear light; the camera saturates at 1, and light may exceed it."""

_LEAST_OBJECT_PX = 24
_LARGEST_BACKGROUND_PX = 40_000_000  # 2 GB of texels


@dataclass(frozen=True)
class _Layer:
    """A flat thing with a texture: the background plane, or an object."""

    texture: Texture
    path: ObjectPath | None
    """None for the background, which stays where it is."""

    @property
    def from_texels(self) -> Float:
        """(3, 3): texel centres to plane coordinates in pixels, the middle being the origin."""
        height, width = self.texture.shape[:2]
        scale = 1 / TEXELS_PER_PX
        return np.array(
            [[scale, 0, -scale * (width - 1) / 2], [0, scale, -scale * (height - 1) / 2], [0, 0, 1]]
        )


class Scene:
    """A photograph seen by a shaking camera, with objects in front, at any instant.

    Attributes:
        config: What it was made from.
        camera: The camera and its path.
        photograph: The background's name or file, drawn if the config names none.
        object_photographs: What each object was cut from.
    """

    def __init__(self, config: SceneConfig) -> None:
        """Draw the scene.

        Raises:
            InputError: A photograph cannot be read or is too small, the response is unknown, or
                the frame or its shake is too large.
        """
        # Separate random streams, so that another object, say, leaves the camera's path as it is.
        rngs = np.random.default_rng(config.seed).spawn(3 + config.n_objects)
        camera_rng, photograph_rng, lights_rng, *object_rngs = rngs
        self.config = config
        self.camera = Camera.hand_held(camera_rng, config.size_hw, config.shake_px_s)
        self._response = Response.named(config.response)
        drawn = str(photograph_rng.choice(list(PHOTOGRAPHS)))
        self.photograph: str | Path = config.photograph or drawn
        cut_from = config.object_photographs or tuple(
            name for name in PHOTOGRAPHS if name != self.photograph
        )
        order = photograph_rng.permutation(len(cut_from))
        self.object_photographs: tuple[str | Path, ...] = tuple(
            cut_from[order[index % len(order)]] for index in range(config.n_objects)
        )
        half_height, half_width = self.camera.view_bounds_px()
        plane_hw = (2 * half_height, 2 * half_width)
        if plane_hw[0] * plane_hw[1] > _LARGEST_BACKGROUND_PX:
            raise InputError(
                f"a shake of {config.shake_px_s:g} px/s over {config.size_hw} pixels needs a "
                f"background of {plane_hw[1]}x{plane_hw[0]} pixels, too large to render; lower it."
            )
        photograph = read_photograph(self.photograph, self._response)
        plane = background(photograph, plane_hw, self._response, photograph_rng)
        if config.highlights:
            add_lights(plane, lights_rng)
        self._layers = [_Layer(plane, None)]
        for rng, source in zip(object_rngs, self.object_photographs, strict=True):
            path = ObjectPath.drawn(rng, config.size_hw, config.object_speed_px_s)
            side_px = max(_LEAST_OBJECT_PX, round(config.size_hw[0] * rng.uniform(0.2, 0.4)))
            sprite = cut_out(read_photograph(source, self._response), side_px, self._response, rng)
            self._layers.append(_Layer(sprite, path))

    def linear_frame(self, time_s: float) -> Linear:
        """Light that a shutter lets in at an instant: (H, W, 3) float32, linear, >= 0."""
        frame = np.empty(0, np.float32)
        for index in self._back_to_front:
            rows, columns, seen = self._seen(index, time_s)
            if index == 0:
                frame = seen
            else:
                behind = frame[rows, columns]
                behind *= 1 - seen[..., 3:]
                behind += seen[..., :3]
        return frame

    def exposure(self, start_s: float, stop_s: float, n_subframes: int = 64) -> Linear:
        """Light gathered while a shutter is open: what averaging frames approaches.

        Nothing is clipped: a sensor saturates once, by all the light it gathered, which is why a
        moving light leaves a bright streak.

        Args:
            start_s: When the shutter opens.
            stop_s: When it closes.
            n_subframes: Number of instants averaged, at the middles of equal parts of the time.

        Returns:
            (H, W, 3) float32, mean linear light.
        """
        if n_subframes < 1:
            raise ValueError(f"{n_subframes} sub-frames: at least one was expected")
        step_s = (stop_s - start_s) / n_subframes
        total = self.linear_frame(start_s + step_s / 2)
        for index in range(1, n_subframes):
            total += self.linear_frame(start_s + (index + 0.5) * step_s)
        total /= n_subframes
        return total

    def frame(self, time_s: float, shutter_s: float = 0.0, n_subframes: int = 8) -> Rgb:
        """An 8-bit frame: exposed, saturated, then encoded by the camera response.

        Args:
            time_s: The middle of the exposure.
            shutter_s: How long the shutter is open; 0 is an instant.
            n_subframes: Instants averaged where ``shutter_s`` is not 0.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        if shutter_s == 0:
            return self.encode(self.linear_frame(time_s))
        start_s, stop_s = time_s - shutter_s / 2, time_s + shutter_s / 2
        return self.encode(self.exposure(start_s, stop_s, n_subframes))

    def encode(self, linear: Linear) -> Rgb:
        """Saturate and encode (H, W, 3) linear light.

        `Response.encode` from a table: much faster, and about one value in a thousand, next to a
        rounding threshold, comes out one code off.
        """
        # Codes are dense in the shadows; so are equal steps of the square root.
        level = np.sqrt(np.clip(linear, 0, 1)) * np.float32(65535) + np.float32(0.5)
        codes = self._code_of_level
        channels = [codes[c].take(level[..., c].astype(np.uint16)) for c in range(3)]
        return cv2.merge(channels).astype(np.uint8, copy=False)

    def flow(self, start_s: float, stop_s: float) -> NDArray[np.float32]:
        """Where each pixel's surface goes between two instants.

        Returns:
            (H, W, 2) float32, x then y, in pixels: the surface that a pixel shows at ``start_s`` is
            displaced by this much at ``stop_s``, visible or occluded.
        """
        height, width = self.config.size_hw
        flow = np.empty((height, width, 2), np.float32)
        ids = self.object_mask(start_s)
        y, x = np.mgrid[:height, :width].astype(np.float64)
        start, stop = self.homographies(start_s), self.homographies(stop_s)
        for index in range(len(self._layers)):
            chosen = ids == index
            here = np.stack([x[chosen], y[chosen], np.ones(np.count_nonzero(chosen))])
            there = stop[index] @ np.linalg.inv(start[index]) @ here
            flow[chosen] = (there[:2] / there[2] - here[:2]).T
        return flow

    def blur_map(
        self, middle_s: float, exposure_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How far the surface of each pixel of the sharp image moves while the shutter is open.

        Args:
            middle_s: The instant that the sharp image shows.
            exposure_s: How long the shutter is open around it.

        Returns:
            (H, W) length of the path through the middle instant in pixels, and (H, W) whether the
            pixel shows the background.
        """
        halves = [
            np.linalg.norm(self.flow(middle_s, middle_s + sign * exposure_s / 2), axis=2)
            for sign in (-1, 1)
        ]
        return np.sum(halves, axis=0, dtype=np.float64), self.object_mask(middle_s) == 0

    def object_mask(self, time_s: float) -> NDArray[np.uint8]:
        """(H, W) uint8: 0 where the background is seen, else the object's number from 1."""
        ids = np.zeros(self.config.size_hw, np.uint8)
        for index in self._back_to_front[1:]:
            rows, columns, seen = self._seen(index, time_s)
            ids[rows, columns][seen[..., 3] >= 0.5] = index
        return ids

    def homographies(self, time_s: float) -> Float:
        """(1 + n_objects, 3, 3): plane of the background, then of each object, to the image.

        On every plane the unit is a pixel at rest and the origin is the middle.
        """
        focal_px = self.camera.focal_px
        return np.stack(
            [
                self.camera.homography(
                    time_s, layer.path.placement(time_s, focal_px) if layer.path else None
                )
                for layer in self._layers
            ]
        )

    @cached_property
    def _back_to_front(self) -> list[int]:
        heights = [layer.path.height if layer.path else 0.0 for layer in self._layers]
        return sorted(range(len(heights)), key=heights.__getitem__)

    @cached_property
    def _code_of_level(self) -> list[NDArray[np.uint8]]:
        levels = (np.arange(65536) / 65535) ** 2
        return list(self._response.encode(np.repeat(levels[:, None], 3, axis=1)).T.copy())

    def _seen(self, index: int, time_s: float) -> tuple[slice, slice, NDArray[np.float32]]:
        """A layer as the camera sees it, and the rows and columns it falls on."""
        layer = self._layers[index]
        height, width = self.config.size_hw
        placement = layer.path.placement(time_s, self.camera.focal_px) if layer.path else None
        to_frame = self.camera.homography(time_s, placement) @ layer.from_texels
        left, top, right, bottom = 0, 0, width, height
        if layer.path is not None:
            far_y, far_x = (side - 1 for side in layer.texture.shape[:2])
            corners = np.array([[0, far_x, far_x, 0], [0, 0, far_y, far_y], [1, 1, 1, 1]])
            x, y, w = to_frame @ corners
            x, y = np.clip(x / w, 0, width), np.clip(y / w, 0, height)
            left, right = int(x.min()), int(np.ceil(x.max()))
            top, bottom = int(y.min()), int(np.ceil(y.max()))
        rows, columns = slice(top, bottom), slice(left, right)
        if left == right or top == bottom:
            return rows, columns, np.empty((bottom - top, right - left, 4), np.float32)
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]])
        seen = cv2.warpPerspective(
            layer.texture,
            shift @ to_frame,
            (right - left, bottom - top),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_CONSTANT if layer.path else cv2.BORDER_REFLECT_101,
        )
        # The cubic kernel has negative lobes.
        np.maximum(seen, 0, out=seen)
        if layer.path is not None:
            np.minimum(seen[..., 3], 1, out=seen[..., 3])
        return rows, columns, seen.astype(np.float32, copy=False)


def render_frames(
    scene: Scene, rate_hz: float, n_frames: int, *, start_s: float = 0.0, shutter_s: float = 0.0
) -> Iterator[Rgb]:
    """Frames of a camera that runs at ``rate_hz``.

    Frame i is exposed around ``start_s + i / rate_hz``, so n frames from frame i on sample the
    exposure from ``start_s + (i - 0.5) / rate_hz`` to ``start_s + (i + n - 0.5) / rate_hz``.

    Args:
        scene: What is filmed.
        rate_hz: Frames per second.
        n_frames: How many.
        start_s: Instant of the first.
        shutter_s: How long the shutter is open for each; 0 is an instant.

    Yields:
        (H, W, 3) uint8 RGB.
    """
    for index in range(n_frames):
        yield scene.frame(start_s + index / rate_hz, shutter_s)
