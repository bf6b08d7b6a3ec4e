"""Synthesis with interpolation, sensor, rolling shutter, recipes and motion."""

import csv
import json
import pickle
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gopro_tools.averaging import average_exposure
from gopro_tools.errors import InputError
from gopro_tools.exposure import Window
from gopro_tools.images import read_rgb
from gopro_tools.interpolation import FlowInterpolator
from gopro_tools.scenes import LOSSLESS, Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize import main as synthesize_main
from gopro_tools.synthesize.pairs import PairMaker
from gopro_tools.synthesize.recipes import RECIPES, recipe_named
from gopro_tools.verify import VerifyConfig, verify

SCENE = SceneConfig(
    seed=2, photograph="astronaut", size_hw=(64, 96), shake_px_s=250, object_speed_px_s=200,
    n_objects=1,
)  # fmt: skip
ALL_STAGES = {
    "recipe": "rsblur", "frames": "5", "interpolate": 3, "readout_ms": 6.0, "latent": True,
    "measure_motion": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_video(path, render_frames(Scene(SCENE), 240, 40), 240, LOSSLESS)
    return path


@pytest.fixture(scope="module")
def frames():
    return np.stack(list(render_frames(Scene(SCENE), 240, 13)))


def rows_of(out: Path, name: str = "manifest.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def files_of(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def window_of(n_frames: int) -> Window:
    return Window(blur_number=1, start=0, stop=n_frames)


def made_of(frames, n_frames: int | None = None, key: str = "train/a/000001.png", **settings):
    config = SynthesisConfig(**settings)
    n_frames = n_frames or len(frames)
    interval_s = 1 / 240
    n_seen = n_frames + 2 * config.margin_frames(interval_s)
    return PairMaker(config).make(
        frames[:n_seen], window_of(n_frames), key=key, interval_s=interval_s
    )


# --- a window --------------------------------------------------------------------------------


def test_without_stages_it_is_the_exact_average(frames):
    made = made_of(frames[:11])
    exact = average_exposure(frames[:11], SynthesisConfig().camera)
    assert (made.images["blur_gamma"] == exact.blur_gamma).all()
    assert (made.images["blur"] == exact.blur).all()
    assert (made.images["sharp"] == frames[5]).all()
    assert made.columns == {}


def test_interpolated_frames_are_averaged_with_the_others(frames):
    made = made_of(frames[:3], interpolate=4)
    between = FlowInterpolator()
    filled = [frames[:1], between.between(frames[0], frames[1], 3), frames[1:2]]
    filled += [between.between(frames[1], frames[2], 3), frames[2:3]]
    exact = average_exposure(np.concatenate(filled), SynthesisConfig().camera)
    assert (made.images["blur_gamma"] == exact.blur_gamma).all()
    assert (made.images["sharp"] == frames[1]).all()
    assert 0 <= float(made.columns["lost_share"]) < 0.05


def test_an_interpolator_of_the_users_own_is_used_and_recorded(frames, tmp_path, monkeypatch):
    module = tmp_path / "holding.py"
    text = """
import numpy as np

class Hold:
    def between(self, first, second, n_between):
        return np.stack([first] * n_between)
"""
    module.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"interpolate": 4, "interpolator": "holding:Hold"}
    made = made_of(frames[:3], **settings)
    held = np.repeat(frames[:3], [4, 4, 1], axis=0)
    exact = average_exposure(held, SynthesisConfig().camera)
    assert (made.images["blur_gamma"] == exact.blur_gamma).all()
    before = SynthesisConfig(**settings).effective()["interpolator_sha256"]
    module.write_text(text + "# changed")
    assert SynthesisConfig(**settings).effective()["interpolator_sha256"] != before
    with pytest.raises(InputError, match="nowhere"):
        SynthesisConfig(interpolate=2, interpolator="nowhere:make")
    with pytest.raises(InputError, match="flow or package"):
        SynthesisConfig(interpolate=2, interpolator="rife")


def test_windows_that_flow_cannot_follow_are_rejected(frames):
    cut = np.concatenate([frames[:2], frames[:1, ::-1, ::-1].copy()])
    made = made_of(cut, interpolate=2)
    assert "lost the motion" in made.fault
    assert not made.images


def test_blur_real_is_beside_the_others_and_changes_none(frames):
    plain = made_of(frames[:5])
    real = made_of(frames[:5], noise="rsblur", isp="sony_a7r3", saturation=True)
    for kind, image in plain.images.items():
        assert (real.images[kind] == image).all()
    error = real.images["blur_real"].astype(int) - plain.images["blur_gamma"]
    assert 0 < np.abs(error).mean() < 12


def test_a_rolling_shutter_exposes_the_middle_row_as_a_global_one(frames):
    """6 ms of readout are 1.44 frames: a margin of one frame on either side."""
    config = SynthesisConfig(readout_ms=6)
    assert config.margin_frames(1 / 240) == 1
    rolling = made_of(frames[:9], 7, readout_ms=6)
    still = made_of(frames[1:8])
    for kind in ("sharp", "blur", "blur_gamma"):
        assert (rolling.images[kind] == still.images[kind]).all()
    error = np.abs(rolling.images["blur_real"].astype(int) - still.images["blur_gamma"])
    by_row = error.mean(axis=(1, 2))
    assert by_row[31:33].mean() < 0.5 < by_row[:4].mean()


def test_draws_depend_on_the_pair_alone(frames):
    settings = {"noise": "rsblur", "isp": "sony_a7r3"}
    first = made_of(frames[:5], **settings)
    again = made_of(frames[:5], **settings)
    other = made_of(frames[:5], key="train/a/000002.png", **settings)
    reseeded = made_of(frames[:5], seed=1, **settings)
    assert (first.images["blur_real"] == again.images["blur_real"]).all()
    assert first.columns == again.columns
    assert first.columns != other.columns != reseeded.columns


def test_motion_selects_windows(frames):
    length = float(made_of(frames[:11], measure_motion=True).columns["motion_mean_px"])
    assert 3 < length < 40
    assert not made_of(frames[:11], least_motion_px=length - 0.1).fault
    assert "less than" in made_of(frames[:11], least_motion_px=length + 0.1).fault
    assert "more than" in made_of(frames[:11], most_motion_px=length - 0.1).fault


@pytest.mark.parametrize("interpolate", [1, 4])
def test_the_number_of_frames_is_chosen_to_reach_a_length(frames, interpolate):
    for number in range(3):
        made = made_of(
            frames, motion_px="3-6", interpolate=interpolate, key=f"train/a/{number}.png"
        )
        assert not made.fault
        target, found = (float(made.columns[f"motion_{n}_px"]) for n in ("target", "mean"))
        assert 3 <= target <= 6
        assert found == pytest.approx(target, abs=1.2)  # half a frame's motion, and the measure's
        assert made.window.n_frames < 13
        assert (made.images["sharp"] == frames[6]).all()
        exact = average_exposure(
            frames[made.window.start : made.window.stop], SynthesisConfig().camera
        )
        if interpolate == 1:
            assert (made.images["blur_gamma"] == exact.blur_gamma).all()
    assert "out of reach" in made_of(frames, motion_px="200-300").fault


@pytest.mark.parametrize("n_frames", [1, 2, 7, 8])
def test_the_sharp_frame_is_the_later_of_two_middle_ones(frames, n_frames):
    window = Window(blur_number=1, start=0, stop=13).around_middle(n_frames)
    assert window.n_frames == n_frames
    assert window.middle == 6
    seen = frames[window.start : window.stop]
    made = PairMaker(SynthesisConfig()).make(seen, window, key="k", interval_s=1 / 240)
    assert (made.images["sharp"] == frames[6]).all()


# --- recipes and options ---------------------------------------------------------------------


def test_every_recipe_says_what_it_stands_for_and_works():
    for name, recipe in RECIPES.items():
        config = SynthesisConfig(recipe=name)
        for option, value in recipe.settings.items():
            assert getattr(config, option) == value
        assert len(recipe.stands_for) > 30


def test_the_default_is_gopro_large():
    named, default = SynthesisConfig(recipe="gopro_large"), SynthesisConfig()
    assert (named.frames, named.stride, named.kinds) == ("11", None, default.kinds)
    assert set(default.effective()) & {"recipe", "interpolate", "noise", "draw_per"} == set()


DEFAULTS = SynthesisConfig()


@pytest.mark.parametrize("name", [*RECIPES, "duty:10/16", "random:1-15"])
def test_every_option_wins_over_a_recipe_even_with_its_default_value(name):
    for option in recipe_named(name).settings:
        default = getattr(DEFAULTS, option)
        # Even numbers of frames need the other option of their recipe.
        config = SynthesisConfig(recipe=name, **{"frames": "11", option: default})
        assert getattr(config, option) == default or option == "kinds"
        assert pickle.loads(pickle.dumps(config)) == config == replace(config)


def test_a_scale_replaces_the_size_of_a_recipe():
    config = SynthesisConfig(recipe="reds_deblur", scale=0.5)
    assert (config.size, config.scale) == (None, 0.5)
    assert SynthesisConfig(recipe="reds_deblur").size_hw == (720, 1280)


def settings_of_command(monkeypatch, *arguments):
    """What the command line would make a dataset with."""
    seen = []

    def plan(workers, sources, out, config):
        seen.append(config)
        raise InputError("enough")

    monkeypatch.setattr("gopro_tools.synthesize.command.started_workers", lambda *_: nullcontext())
    monkeypatch.setattr("gopro_tools.synthesize.run.plan_synthesis", plan)
    with pytest.raises(SystemExit):
        synthesize_main(["video.mp4", "--dry-run", *arguments])
    return seen[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--recipe", "reds"), {"frames": "5", "stride": 5, "interpolate": 16}),
        (("--recipe=reds", "--frames", "11"), {"frames": "11", "stride": 5, "interpolate": 16}),
        (("--frames", "11", "--recipe", "gopro_7"), {"frames": "11", "recipe": "gopro_7"}),
        (("--recipe", "rsblur", "--no-saturation", "--noise", "None"),
         {"saturation": False, "noise": None, "isp": "sony_a7r3"}),
        (("--recipe", "reds", "--interpolate", "1", "--stride", "None"),
         {"interpolate": 1, "stride": None, "frames": "5"}),
        (("--recipe", "reds_deblur", "--kinds", "sharp,blur_gamma,blur"),
         {"kinds": ("sharp", "blur_gamma", "blur"), "size": "720x1280"}),
        (("--recipe", "gopro_7", "--recipe", "deblurgan_wild", "--draw-per", "clip"),
         {"frames": "5-25", "draw_per": "clip"}),
    ],
)  # fmt: skip
def test_options_of_the_command_line_win_over_its_recipe(monkeypatch, arguments, expected):
    config = settings_of_command(monkeypatch, *arguments)
    assert {name: getattr(config, name) for name in expected} == expected


def test_an_unknown_recipe_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        synthesize_main(["video.mp4", "--recipe", "redss"])
    assert "--recipe redss: one of gopro_large" in " ".join(capsys.readouterr().err.split())


def test_the_help_shows_the_defaults_of_the_recipe(capsys):
    with pytest.raises(SystemExit):
        synthesize_main(["--recipe", "reds", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "clip draws its own. (default: 5)" in shown


def test_what_was_changed_of_a_recipe_is_on_the_card_and_in_the_record(video, tmp_path):
    out = tmp_path / "changed"
    config = SynthesisConfig(recipe="gopro_7", frames="11", max_pairs=1)
    synthesize([video], config, out=out, jobs=1)
    settings = json.loads((out / "dataset.json").read_text())["identity"]["config"]
    assert (settings["recipe"], settings["frames"]) == ("gopro_7", "11")
    assert "Here it was changed: frames 11 (recipe: 7)." in (out / "README.md").read_text()


def test_duty_and_random():
    assert recipe_named("duty:11/16").settings == {"frames": "11", "stride": 16}
    assert SynthesisConfig(recipe="duty:10/16").frame_counts == (10,)
    assert SynthesisConfig(recipe="random:1-15").frame_counts == tuple(range(1, 16))


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": "gopro"}, {"recipe": "duty:17/16"}, {"recipe": "random:9-3"},
        {"interpolate": 0}, {"interpolate": 8, "frames": "1"}, {"noise": "loud"},
        {"isp": "leica"}, {"readout_ms": -1}, {"least_motion_px": -1}, {"motion_px": "9"},
        {"motion_px": "9-3"}, {"kinds": ("sharp", "blur_real")}, {"frames": "10"},
        {"measure_motion": True, "frames": "1"},
    ],
)  # fmt: skip
def test_unusable_settings_are_refused(settings):
    with pytest.raises(InputError, match="expected"):
        SynthesisConfig(**settings)


# --- datasets --------------------------------------------------------------------------------


def test_all_stages_give_one_dataset_however_it_is_made(video, tmp_path):
    config = SynthesisConfig(**ALL_STAGES)
    one = tmp_path / "one"
    synthesize([video], config, out=one, jobs=1)
    stopped = tmp_path / "stopped"

    def stop(done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize([video], config, out=stopped, jobs=1, on_progress=stop)
    synthesize([video], config, out=stopped, jobs=2)
    assert files_of(one) == files_of(stopped)

    rows = rows_of(one)
    assert len(rows) >= 5
    for row in rows:
        folder = one / row["split"] / row["sequence"]
        stem = Path(row["name"]).stem
        latent = sorted((folder / "latent" / stem).iterdir())
        assert [path.name for path in latent] == [f"{n:03d}.png" for n in range(5)]
        assert (read_rgb(latent[2]) == read_rgb(folder / "sharp" / row["name"])).all()
        assert row["bayer"] in ("RGGB", "BGGR", "GRBG", "GBRG")
        assert 0.25 <= float(row["saturation"]) <= 1.75
        assert float(row["motion_mean_px"]) > 0.5
    assert len({row["noise_shot"] for row in rows}) == len(rows)
    described = json.loads((one / "dataset.json").read_text())["identity"]["config"]
    assert described["recipe"] == "rsblur"
    assert described["readout_ms"] == 6.0
    card = (one / "README.md").read_text()
    assert "blur_real" in card
    assert "rolling shutter" in card
    assert [f for f in verify(one, VerifyConfig()) if f.severity != "info"] == []


def test_each_image_draws_its_own_number_of_frames(video, tmp_path):
    out = tmp_path / "random"
    synthesize([video], SynthesisConfig(recipe="random:1-6"), out=out, jobs=1)
    rows = rows_of(out)
    counts = [int(row["n_frames"]) for row in rows]
    assert {row["sequence"] for row in rows} == {"clip_06_00"}
    assert len(set(counts)) > 2
    for row, count in zip(rows, counts, strict=True):
        assert int(row["frame_stop"]) - int(row["frame_start"]) == count
        assert int(row["middle_frame"]) == int(row["frame_start"]) + count // 2
    again = tmp_path / "again"
    synthesize([video], SynthesisConfig(recipe="random:1-6", max_pairs=2), out=again, jobs=1)
    assert [row["n_frames"] for row in rows_of(again)] == [row["n_frames"] for row in rows[:2]]


def test_windows_without_motion_are_listed_with_their_reason(video, tmp_path):
    out = tmp_path / "selected"
    config = SynthesisConfig(frames="5", least_motion_px=4.0)
    summary = synthesize([video], config, out=out, jobs=1)
    rejected = rows_of(out, "rejected.csv")
    assert summary.n_pairs + len(rejected) == 8
    assert rejected
    assert all("less than 4 px" in row["reason"] for row in rejected)
    assert all(float(row["motion_mean_px"]) >= 4 for row in rows_of(out))


def test_frames_that_were_kept_go_with_the_dataset_that_kept_them(video, tmp_path):
    out = tmp_path / "out"
    config = SynthesisConfig(frames="5", latent=True, max_pairs=2)
    synthesize([video], config, out=out, jobs=1)
    kept = list(out.rglob("latent/*/*.png"))
    assert len(kept) == 10
    others = kept[0].parent / "notes.txt"
    others.write_text("mine")
    plain = SynthesisConfig(frames="5", max_pairs=2)
    synthesize([video], plain, out=out, jobs=1, overwrite=True)
    assert [path for path in out.rglob("latent/**/*") if path.is_file()] == [others]
