"""What only shows across images: copies, leaks, shifted numbers, and what most of them share."""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SequenceName
from gopro_tools.findings import Finding, Severity
from gopro_tools.images import Rgb
from gopro_tools.mistakes import OTHER_TONE, best_explanation, mistakes_in
from gopro_tools.naming import group_of
from gopro_tools.verify.folders import ImageSet
from gopro_tools.verify.pixels import LEAST_CONTRAST, Result

_View = NDArray[np.float32]
_Kept = tuple[ImageSet, str, NDArray[np.float16]]
"""An image, the hash of its pixels and its thumbnail."""
_Place = tuple[str, str]
"""A split and one of its sequences."""

_MOST_STEPS = 2
_FEWEST_COMPARED = 3
"""How many images represent a sequence."""
_NEARER = 0.5
"""Squared error to the sharp image of another number, relative to its own: below this, a blurred
image belongs to the other. On 169 sequences of GOPRO, REDS and rendered clips, medians are above
6.7 where the numbers are right, and below 0.15 where they are shifted by 1 or 2."""
_AS_NEAR = 2.0
"""The same share for the nearer neighbour, where the own sharp image is at one end of the exposure:
1.2 to 1.4; the other neighbour is then `_FARTHER` times as unlike: 2.3 to 3.4."""
_FARTHER = 2.0
_ROUNDING = 0.25  # squared error of code values: a static scene is equally like either neighbour
_LEAST_CORRELATION = 0.6
"""Of blurred and sharp, as thumbnails: 0.79 in the worst of 1,000 real pairs, cut to 256 pixels and
blurred."""
_THUMBNAIL_PX = 24
_ALIKE = 0.97
"""Correlation of thumbnails of one picture: 0.974 where 1 % is cut from each side, 0.996 with
another gamma, 1.000 compressed or at half the size; at most 0.934 between 302 different scenes."""
_N_KEPT = 8
"""Thumbnails per sequence that are compared with those of other sequences."""
_AT_ONCE = 1024


class Seen:
    """Compares each image set with those before it."""

    def __init__(self) -> None:
        """Start without any image."""
        self._first: dict[tuple[str, str], ImageSet] = {}
        self._sizes: defaultdict[tuple[str, str], Counter[tuple[int, int]]]
        self._sizes = defaultdict(Counter)
        self._kinds: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._small: defaultdict[tuple[str, str], list[tuple[Rgb, Rgb]]] = defaultdict(list)
        self._were_jpeg: defaultdict[str, list[bool]] = defaultdict(list)
        self._order = _Order()
        self._lookalikes = _Lookalikes()

    def add(self, image: ImageSet, result: Result) -> Iterator[Finding]:
        """Compare one image set with those before it; equal pixels are found at once."""
        if result.size_hw:
            self._sizes[image.split, image.sequence][result.size_hw] += 1
            self._kinds[image.split, image.sequence][result.kinds] += 1
        for kind, pair in result.small.items():
            self._small[image.split, kind].append(pair)
        if result.was_jpeg is not None:
            self._were_jpeg[image.split].append(result.was_jpeg)
        self._order.add(image, result)
        self._lookalikes.add(image, result)
        for kind, value in result.hashes.items():
            first = self._first.setdefault((kind, value), image)
            if first is not image:
                message = f"{kind} has the pixels of {first.places[kind].relative_to(first.root)}"
                if first.split != image.split:
                    message += ", so that the splits share an image"
                # Many choose on the test images; few would train on them.
                is_trained_on = first.split != image.split and "train" in (first.split, image.split)
                severity: Severity = "error" if is_trained_on else "warning"
                yield Finding(severity, "duplicate", message, *image.key)

    def findings(self) -> Iterator[Finding]:
        """What shows only across all images."""
        yield from self._odd_sizes()
        yield from self._odd_kinds()
        for split, were_jpeg in sorted(self._were_jpeg.items()):
            if all(were_jpeg):
                message = f"the {SHARP_FOLDER} images were JPEG files, and keep what these lost"
                yield Finding("info", "saving", message, split)
        order = list(self._order.findings())
        unlike = {finding.split for finding in order if finding.check == "scene"}
        mistakes = list(self._mistakes(unlike))
        yield from mistakes
        explained = {("scene", finding.split) for finding in mistakes}
        yield from (finding for finding in order if (finding.check, finding.split) not in explained)
        yield from self._lookalikes.findings()

    def _odd_sizes(self) -> Iterator[Finding]:
        """Sequences with more than one size."""
        for (split, sequence), sizes in self._sizes.items():
            if len(sizes) > 1:
                listed = ", ".join(f"{n} of {w}x{h}" for (h, w), n in sorted(sizes.items()))
                message = f"images of one sequence differ in size: {listed}"
                yield Finding("warning", "size", message, split, sequence)

    def _odd_kinds(self) -> Iterator[Finding]:
        """Sequences whose two kinds of blur are one, or have each other's names.

        A mean in linear light is at least as bright as that of the code values (Jensen).
        """
        gamma, plain = (BLUR_FOLDERS[kind] for kind in ("gamma", "linear_crf"))
        messages = {
            "darker": f"{gamma} is darker than {plain}, which a mean in linear light never is; "
            "the folders may be swapped",
            "same": f"{gamma} and {plain} are the same images, though made in different ways",
        }
        for (split, sequence), counts in self._kinds.items():
            for kinds, message in messages.items():
                if counts[kinds] > max(1, counts.total() / 2):
                    share = f"{counts[kinds]} of {counts.total()} images"
                    yield Finding("warning", "kinds", f"{message} ({share})", split, sequence)

    def _mistakes(self, unlike: Collection[str]) -> Iterator[Finding]:
        """Mistakes in how images were saved, for each kind of blur in each split as a whole.

        Args:
            unlike: Splits with images of another scene, which a flatter tone would also match
                better.
        """
        for (split, kind), small in sorted(self._small.items()):
            blurred, sharp = ([pair[at] for pair in small] for at in (0, 1))
            if (is_grey := all(map(_is_grey, blurred))) != all(map(_is_grey, sharp)):
                grey, coloured = (kind, SHARP_FOLDER) if is_grey else (SHARP_FOLDER, kind)
                message = (
                    f"{grey} is grey, where {coloured} has colours, in the {len(small)} looked at"
                )
                yield Finding("warning", "saving", message, split)
            elif found := mistakes_in(blurred, sharp):
                best = best_explanation(found)
                if best.mistake == OTHER_TONE and split in unlike:
                    continue
                message = (
                    f"{kind}: more like the {SHARP_FOLDER} images {best.mistake} "
                    f"({best.with_db:.1f} dB in small) than as they are "
                    f"({best.without_db:.1f} dB), in the {len(small)} looked at"
                )
                yield Finding("warning", "saving", message, split)


def _is_grey(image: Rgb) -> bool:
    return int(np.ptp(image, axis=2).max()) <= 1  # rounding, where JPEG made it


class _Order:
    """Whether blurred images belong to the sharp images of their own numbers."""

    def __init__(self) -> None:
        self._before: deque[tuple[ImageSet, Result]] = deque(maxlen=_MOST_STEPS + 1)
        self._shares: defaultdict[tuple[str, str, str], defaultdict[int, list[float]]]
        self._shares = defaultdict(lambda: defaultdict(list))
        self._correlations: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._kept: defaultdict[tuple[str, str, str], list[_View | None]] = defaultdict(list)

    def add(self, image: ImageSet, result: Result) -> None:
        """Compare an image set with those before it in its sequence."""
        if self._before and self._before[-1][0].key[:2] != image.key[:2]:
            self._before.clear()
        self._before.append((image, result))
        steps = list(reversed(self._before))
        thumbnails = {kind: _thumbnail(view) for kind, view in result.views.items()}
        sharp = thumbnails.get(SHARP_FOLDER)
        for kind, thumbnail in thumbnails.items():
            if len(kept := self._kept[image.split, image.sequence, kind]) < _N_KEPT:
                kept.append(thumbnail)
            if kind != SHARP_FOLDER and sharp is not None and thumbnail is not None:
                correlation = float(np.vdot(sharp, thumbnail))
                self._correlations[image.split, image.sequence, kind].append(correlation)
        for step, (_, before) in enumerate(steps[1:], start=1):
            self._compare(image, result, before, -step)
            self._compare(image, before, result, step)

    def _compare(self, image: ImageSet, own: Result, other: Result, step: int) -> None:
        other_sharp = other.views.get(SHARP_FOLDER)
        for kind in own.views.keys() - {SHARP_FOLDER}:
            blurred, sharp = own.views[kind], own.views[SHARP_FOLDER]
            if other_sharp is not None and other_sharp.shape == sharp.shape:
                share = _error(blurred, other_sharp) / _error(blurred, sharp)
                self._shares[image.split, image.sequence, kind][step].append(share)

    def findings(self) -> Iterator[Finding]:
        """Sequences with shifted numbers, or with the images of others."""
        for place, by_step in sorted(self._shares.items()):
            split, sequence, kind = place
            if found := self._shifted(kind, by_step):
                yield Finding("error", "frames", found, split, sequence)
            elif n_unlike := self._n_unlike(place):
                message = f"{kind} and {SHARP_FOLDER} do not show the same in {n_unlike} images"
                if other := self._shown_by(place):
                    message += f"; {kind} shows {'/'.join(other)}: the folders are exchanged"
                yield Finding("error" if other else "warning", "scene", message, split, sequence)
            elif message := self._off_middle(kind, by_step):
                yield Finding("warning", "frames", message, split, sequence)

    def _shifted(self, kind: str, by_step: dict[int, list[float]]) -> str:
        counts = {step: sum(share < _NEARER for share in of) for step, of in by_step.items()}
        step = max(counts, key=lambda step: counts[step])
        n_compared = len(by_step[step])
        if n_compared < _FEWEST_COMPARED or counts[step] <= n_compared / 2:
            return ""
        where = f"{abs(step)} {'after' if step > 0 else 'before'} that of its own name"
        return (
            f"{kind} is like the {SHARP_FOLDER} image {where}, in {counts[step]} of {n_compared} "
            "images: the numbers of one of the folders are shifted"
        )

    def _n_unlike(self, place: tuple[str, str, str]) -> str:
        """How many images of how many, if it is most of them."""
        correlations = self._correlations[place]
        n_unlike = sum(value < _LEAST_CORRELATION for value in correlations)
        if len(correlations) < _FEWEST_COMPARED or n_unlike <= len(correlations) / 2:
            return ""
        return f"{n_unlike} of {len(correlations)}"

    def _shown_by(self, place: tuple[str, str, str]) -> _Place | None:
        """The sequence whose sharp images the blurred ones of a place show, if there is one.

        Without one, images that move too far in one exposure are as likely as foreign ones.
        """
        shares = {
            (split, sequence): _share_alike(self._kept[place], thumbnails)
            for (split, sequence, kind), thumbnails in self._kept.items()
            if kind == SHARP_FOLDER and (split, sequence) != place[:2]
        }
        best = max(shares, key=lambda key: shares[key], default=None)
        return best if best and shares[best] > 0.5 else None

    def _off_middle(self, kind: str, by_step: dict[int, list[float]]) -> str:
        if min(len(by_step.get(step, ())) for step in (-1, 1)) < _FEWEST_COMPARED:
            return ""
        near, far = sorted((-1, 1), key=lambda step: float(np.median(by_step[step])))
        nearer, farther = (float(np.median(by_step[step])) for step in (near, far))
        if nearer > _AS_NEAR or farther < _FARTHER * nearer:
            return ""
        return (
            f"{kind} lies between the {SHARP_FOLDER} image of its own name and the one "
            f"{'after' if near > 0 else 'before'} it, so that {SHARP_FOLDER} is not the middle of "
            "the exposure"
        )


def _error(image: _View, other: _View) -> float:
    return float(np.square(image - other).mean()) + _ROUNDING


class _Lookalikes:
    """Images of one split that look like those of the other, though their pixels differ."""

    def __init__(self) -> None:
        self._thumbnails: defaultdict[str, list[_Kept]] = defaultdict(list)

    def add(self, image: ImageSet, result: Result) -> None:
        """Keep a thumbnail of the sharp image, if it shows anything."""
        if (sharp := result.views.get(SHARP_FOLDER)) is None:
            return
        if (thumbnail := _thumbnail(sharp)) is not None:
            # At half the precision, as those of all images are kept.
            found = image, result.hashes[SHARP_FOLDER], thumbnail.astype(np.float16)
            self._thumbnails[image.split].append(found)

    def findings(self) -> Iterator[Finding]:
        """One finding per pair of groups, except clips of one recording, found by name."""
        pairs: defaultdict[tuple[str, str], list[tuple[ImageSet, ImageSet]]] = defaultdict(list)
        for here, there in self._alike():
            pairs[_group(here), _group(there)].append((here, there))
        for (group, other), alike in pairs.items():
            if _recording(group) == _recording(other):
                continue
            (first, like), n_images = alike[0], len({here.key for here, _ in alike})
            shown = f"{first.name} like {like.places[SHARP_FOLDER].relative_to(like.root)}"
            message = (
                f"{n_images} of its {SHARP_FOLDER} images look like images of {like.split} "
                f"({shown}): copies that were compressed, resized, cut or mirrored, or one "
                f"recording in both splits? Scores on {first.split} may be too good"
            )
            yield Finding("warning", "lookalike", message, first.split, first.sequence)

    def _alike(self) -> Iterator[tuple[ImageSet, ImageSet]]:
        train = self._thumbnails["train"]
        others_of = [kept for split, kept in self._thumbnails.items() if split != "train"]
        held_out = [one for kept in others_of for one in kept]
        for others in _parts(train):
            views = _stacked(others)
            theirs = [view.reshape(len(others), -1).T for view in (views, views[:, :, ::-1])]
            for own in _parts(held_out):
                mine = _stacked(own).reshape(len(own), -1)
                nearest = np.maximum(*(mine @ view for view in theirs))
                for row, column in np.argwhere(nearest > _ALIKE).tolist():
                    (here, here_hash, _), (there, there_hash, _) = own[row], others[column]
                    if here_hash != there_hash:
                        yield here, there


def _parts(kept: Sequence[_Kept]) -> Iterator[Sequence[_Kept]]:
    return (kept[start : start + _AT_ONCE] for start in range(0, len(kept), _AT_ONCE))


def _stacked(kept: Sequence[_Kept]) -> _View:
    return np.stack([thumbnail for _, _, thumbnail in kept]).astype(np.float32)


def _group(image: ImageSet) -> str:
    return group_of(PurePosixPath(image.sequence, image.name))


def _recording(group: str) -> str:
    parsed = SequenceName.parse(group)
    return parsed.recording if parsed else group


def _thumbnail(view: _View) -> _View | None:
    """Zero mean and unit length, so that dot products are correlations; None if flat."""
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    small = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    small = small - small.mean()
    if small.std() < LEAST_CONTRAST:
        return None
    return np.asarray(small / np.linalg.norm(small), np.float32)


def _share_alike(some: Sequence[_View | None], others: Sequence[_View | None]) -> float:
    """Share of thumbnails at the same place that show the same; 0 if too few can be compared."""
    pairs = [(a, b) for a, b in zip(some, others, strict=False) if a is not None and b is not None]
    if len(pairs) < _FEWEST_COMPARED:
        return 0.0
    return sum(float(np.vdot(a, b)) > _LEAST_CORRELATION for a, b in pairs) / len(pairs)
