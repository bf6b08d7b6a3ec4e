"""Motion of a hand-held camera and of the objects in front of it, as smooth functions of time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_FOCAL_LENGTH_SIDES = 0.9  # 58 degrees along the longer side, as an action camera's medium view
_N_TONES = 5  # sinusoids in each band
_DRIFT_HZ = (0.6, 2.5)  # the arm and the body
_TREMOR_HZ = (4.0, 12.0)  # physiological tremor of the hand
_TREMOR_SHARE = 0.35  # of the mean squared speed
# Share of the image's mean squared speed: pitch, yaw, roll, and shifts along x, y and the axis.
_SHARES = np.array([0.35, 0.35, 0.08, 0.09, 0.09, 0.04])
# No hand turns faster, RMS; a small frame with much motion is a crop of a larger one.
_FASTEST_SIDES_S = 0.25


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in front of a plane: six degrees of freedom, each a sum of sinusoids.

    A sum of sinusoids is band-limited, exact at any instant and bounded, so the background can be
    made large enough for the camera never to look past it.

    Lengths are in pixels: the plane lies one focal length away, so at rest one pixel of the plane
    is one pixel of the image.
    """

    size_hw: tuple[int, int]
    focal_px: float
    """Focal length, and distance of the plane, in px."""
    amplitude: Float
    """(6, n) radians and pixels."""
    frequency_hz: Float
    """(6, n)."""
    phase: Float
    """(6, n) radians."""

    @classmethod
    def hand_held(
        cls, rng: np.random.Generator, size_hw: tuple[int, int], speed_px_s: float
    ) -> "Camera":
        """A camera whose image of the plane moves at ``speed_px_s``: RMS over time and image."""
        frequency_hz = np.hstack(
            [
                low_hz * (high_hz / low_hz) ** rng.uniform(size=(6, _N_TONES))
                for low_hz, high_hz in (_DRIFT_HZ, _TREMOR_HZ)
            ]
        )
        full_over_frame = max(1.0, speed_px_s / _FASTEST_SIDES_S / max(size_hw))
        focal_px = _FOCAL_LENGTH_SIDES * max(size_hw) * full_over_frame
        radius_px = np.hypot(*size_hw) / np.sqrt(12)  # RMS over the frame
        full_radius_px = radius_px * full_over_frame
        # Pixels that a radian, or a pixel of shift, moves the image: RMS over the full image.
        gain = np.array([focal_px, focal_px, full_radius_px, 1, 1, full_radius_px / focal_px])
        of_frame = np.array([1, 1, 1 / full_over_frame, 1, 1, 1 / full_over_frame]) ** 2
        shares = _SHARES / (_SHARES @ of_frame)
        band_shares = np.repeat([1 - _TREMOR_SHARE, _TREMOR_SHARE], _N_TONES) / _N_TONES
        # A tone of amplitude a and frequency f has the mean squared speed (2 pi f a) ** 2 / 2.
        amplitude_px = speed_px_s * np.sqrt(2 * np.outer(shares, band_shares))
        amplitude_px /= 2 * np.pi * frequency_hz
        return cls(
            size_hw=size_hw,
            focal_px=focal_px,
            amplitude=amplitude_px / gain[:, None],
            frequency_hz=frequency_hz,
            phase=rng.uniform(0, 2 * np.pi, frequency_hz.shape),
        )

    def homography(self, time_s: float, placement: Float | None = None) -> Float:
        """(3, 3): from the plane to the image at an instant.

        Plane coordinates are pixels from the point the camera faces at rest.

        Args:
            time_s: When.
            placement: (3, 3), from a flat object's own coordinates (u, v, 1) to the point (x, y, z)
                it occupies, z counted from the plane towards the camera. None is the plane itself.
        """
        angle = 2 * np.pi * self.frequency_hz * time_s + self.phase
        return self._project((self.amplitude * np.sin(angle)).sum(axis=1), placement)

    def view_bounds_px(self) -> tuple[int, int]:
        """Half height and half width of the part of the plane that can ever come into view."""
        height, width = self.size_hw
        reach = np.abs(self.amplitude).sum(axis=1)
        corners = np.array([[x, y, 1.0] for x in (0, width - 1) for y in (0, height - 1)]).T
        furthest = np.zeros(2)
        for signs in np.ndindex((2,) * 6):
            homography = self._project(reach * (2 * np.array(signs) - 1), None)
            seen = np.linalg.solve(homography, corners)
            furthest = np.maximum(furthest, np.abs(seen[:2] / seen[2]).max(axis=1))
        return int(np.ceil(furthest[1])) + 2, int(np.ceil(furthest[0])) + 2

    def _project(self, pose: Float, placement: Float | None) -> Float:
        pitch, yaw, roll, x, y, z = pose
        height, width = self.size_hw
        focal = self.focal_px
        intrinsics = np.array(
            [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
        )
        plane = np.diag([1.0, 1.0, 0.0]) if placement is None else placement
        # Into the camera's frame: its axis points at the plane, which lies at depth `focal`.
        points = np.diag([1.0, 1.0, -1.0]) @ plane + np.outer([-x, -y, focal - z], [0, 0, 1])
        homography: Float = intrinsics @ _rotation(pitch, yaw, roll) @ points
        homography /= homography[2, 2]
        return homography


@dataclass(frozen=True)
class ObjectPath:
    """A flat object that swings across the view and turns, at its own depth."""

    reach_px: Float
    """(2,) amplitude along x and y, on the plane."""
    angular_speed: Float
    """(2,) radians per second along x and y."""
    phase: Float
    """(3,) radians: x, y, and the object's own turn."""
    turn_rad_s: float
    height: float
    """How far in front of the plane, as a fraction of the camera's distance."""

    @classmethod
    def drawn(
        cls, rng: np.random.Generator, size_hw: tuple[int, int], speed_px_s: float
    ) -> "ObjectPath":
        """A path within the view with an RMS speed of ``speed_px_s`` relative to the plane."""
        height, width = size_hw
        reach_px = np.array([width, height]) * rng.uniform(0.25, 0.4, 2)
        direction = rng.uniform(0, np.pi / 2)
        speeds = speed_px_s * np.array([np.cos(direction), np.sin(direction)])
        return cls(
            reach_px=reach_px,
            angular_speed=np.sqrt(2) * speeds / reach_px,
            phase=rng.uniform(0, 2 * np.pi, 3),
            turn_rad_s=float(rng.normal()) * speed_px_s / width,
            height=float(rng.uniform(0.05, 0.3)),
        )

    def placement(self, time_s: float, focal_px: float) -> Float:
        """(3, 3) for `Camera.homography`: object pixels (seen at rest) to points in space."""
        x, y = self.reach_px * np.sin(self.angular_speed * time_s + self.phase[:2])
        turn = self.phase[2] + self.turn_rad_s * time_s
        scale = 1 - self.height  # nearer: smaller in space for the same size in the image
        cos, sin = scale * np.cos(turn), scale * np.sin(turn)
        return np.array(
            [[cos, -sin, scale * x], [sin, cos, scale * y], [0, 0, self.height * focal_px]]
        )


def _rotation(pitch: float, yaw: float, roll: float) -> Float:
    def about(first: int, second: int, angle: float) -> Float:
        matrix = np.eye(3)
        matrix[[first, second], [first, second]] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return matrix

    return about(1, 2, pitch) @ about(2, 0, yaw) @ about(0, 1, roll)
