"""Training steps: our options against the plain eager form in float32, in one run.

Every contender trains DeepDeblur with K = 3: a step is forward, backward and Adam on a batch that
lies on the device already; the device loop also cuts its patches in the step, and takes several
steps before it waits for any, as in training. On a GPU it is the paper's network on 256x256
patches; on a CPU, where that takes a minute per step, the smoke preset's. The contenders take
turns, so that a busy machine slows all alike; the figure is the median step.
"""

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from baselines.data import Batch, FramePairs, Patches
from baselines.deepdeblur.learner import DeepDeblurLearner
from baselines.deepdeblur.method import DeepDeblurRecipe, deepdeblur_recipe
from baselines.devices import chosen_device
from baselines.learning import Learner
from baselines.machine import Setting, scalars
from baselines.options import RunOptions
from benchmarks.speed.timing import Contender, Timing, in_own_process, race, resident_peak_mib
from benchmarks.train.steps import DeviceSteps
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_png

logger = logging.getLogger(__name__)

PLAIN = "plain: eager, float32"
STRICT = "plain, without TF32"
"""Torch lets GPUs round the factors of float32 convolutions to 10 bits by default."""

CONTENDERS: Mapping[str, RunOptions] = {
    PLAIN: RunOptions(loop="host", channels_last=False),
    "channels_last": RunOptions(loop="host"),
    "bf16": RunOptions(loop="host", precision="bf16", channels_last=False),
    "bf16, channels_last": RunOptions(loop="host", precision="bf16"),
    "bf16, channels_last, compiled": RunOptions(loop="host", precision="bf16", compile=True),
    "bf16, channels_last, device loop": RunOptions(loop="device", precision="bf16"),
    "bf16, channels_last, compiled, device loop": RunOptions(
        loop="device", precision="bf16", compile=True
    ),
}

_N_WARM_UP = 4
_N_STEPS_AT_ONCE = 5
_GPU_PATCH_PX, _GPU_BATCH = 256, 8


def measure(n_rounds: int = 15) -> list[Timing]:
    """Time a training step of every contender that runs here."""
    device = chosen_device("auto")
    patches, peak = benchmark_recipe(device).patches, matmul_flop_per_s(device)
    flop_per_patch = _n_flop(device) / patches.batch
    strict = [STRICT] if device.type == "cuda" else []
    timings = []
    for timing in raced([*strict, *CONTENDERS], _warmed_up, n_rounds, "patches"):
        flop_per_s = flop_per_patch * timing.rate
        note = f"{flop_per_s / 1e12:.3g} TFLOP/s"
        if peak is not None:
            note += f", {flop_per_s / peak:.0%} of a large bf16 matrix product here"
        timings.append(replace(timing, note=note + timing.note))
    return timings


def benchmark_recipe(device: torch.device) -> DeepDeblurRecipe:
    """What is trained: the paper's network on a GPU, the smoke preset's on a CPU."""
    if device.type == "cpu":
        return deepdeblur_recipe("smoke")
    return deepdeblur_recipe("reduced").changed(patch_px=_GPU_PATCH_PX, batch=_GPU_BATCH)


def raced(
    names: Iterable[str], prepare: Callable[[str], Contender], n_rounds: int, unit: str
) -> list[Timing]:
    """Time all contenders that run here; one that does not is named and left out.

    Memory is a GPU's, beside the other contenders', or that of a process of its own. ``prepare``
    can be pickled, and warms one up.
    """
    device = chosen_device("auto")
    on_gpu = device.type == "cuda"
    contenders: list[Contender] = []
    peaks: dict[str, float] = {}
    for name in names:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) if on_gpu else 0
        try:
            contenders.append(prepare(name))
        except Exception as error:  # torch.compile fails in many ways where there is no compiler
            logger.warning("%s does not run here and is left out: %s", name, error)
            continue
        if on_gpu:
            peaks[name] = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    timings = race(contenders, n_rounds, unit, wait=wait)
    if not on_gpu:
        peaks = {c.name: in_own_process(partial(_peak_mib, prepare, c.name)) for c in contenders}
    return [replace(timing, peak_mib=peaks[timing.name]) for timing in timings]


def _peak_mib(prepare: Callable[[str], Contender], name: str) -> float:
    prepare(name)
    return resident_peak_mib()


def matmul_flop_per_s(device: torch.device) -> float | None:
    """What a large bf16 matrix product reaches on this GPU, a practical peak; None on a CPU."""
    if device.type != "cuda":
        return None
    n = 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = Contender("product", 2 * n**3, lambda: torch.mm(a, b))
    (timing,) = race([product], 20, "operations", wait=torch.cuda.synchronize)
    return timing.rate


def _warmed_up(name: str) -> Contender:
    device = chosen_device("auto")
    options, recipe = CONTENDERS[PLAIN if name == STRICT else name], benchmark_recipe(device)
    torch.backends.cudnn.benchmark = True  # as training does
    setting = Setting(device=device, options=options)
    learner = DeepDeblurLearner(recipe, setting)
    patches = recipe.patches
    if options.loop == "device":
        n_steps, step = _N_STEPS_AT_ONCE, _device_steps(learner, recipe, setting)
    else:
        n_steps, step = 1, _host_step(learner, recipe, setting)

    def run() -> None:
        torch.backends.cudnn.allow_tf32 = name != STRICT
        step()

    for _ in range(_N_WARM_UP):
        run()
    size = f"patches of {patches.patch_px}x{patches.patch_px}"
    note = f"; {recipe.n_features} features, {size}, {device.type}" if name == PLAIN else ""
    return Contender(name, n_steps * patches.batch, run, note)


def _host_step(
    learner: Learner, recipe: DeepDeblurRecipe, setting: Setting
) -> Callable[[], object]:
    batch = _batch(recipe, setting)

    def step() -> None:
        learner.start(recipe.optimisation.learning_rate)
        scalars(learner.step([batch]))

    return step


def _device_steps(
    learner: Learner, recipe: DeepDeblurRecipe, setting: Setting
) -> Callable[[], object]:
    side, rng = 2 * recipe.patches.patch_px, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sharp", "blur_gamma"):
            image = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
            write_atomic(Path(folder, "train", "noise", kind, "000001.png"), encode_png(image))
        frames = FramePairs(Path(folder), "train", "gamma", cache="memory")
    steps = DeviceSteps(learner, Patches(frames, recipe.patches, seed=0), setting)
    numbers = itertools.count()

    def several_steps() -> None:
        for number in itertools.islice(numbers, _N_STEPS_AT_ONCE):
            inputs = [steps.input(number)]
            steps.take(number, inputs, recipe.optimisation.learning_rate, is_logged=False)
        steps.pending(number + 1)

    return several_steps


def _batch(recipe: DeepDeblurRecipe, setting: Setting) -> Batch:
    torch.manual_seed(0)
    shape = (recipe.patches.batch, 3, recipe.patches.patch_px, recipe.patches.patch_px)
    batch = Batch(blurred=torch.rand(shape), sharp=torch.rand(shape))
    return batch.placed(setting.device, channels_last=setting.options.channels_last)


def _n_flop(device: torch.device) -> float:
    """Floating-point operations of one step's convolutions, forward and backward."""
    recipe, setting = benchmark_recipe(device), Setting(device=device, options=CONTENDERS[PLAIN])
    learner = DeepDeblurLearner(recipe, setting)
    with FlopCounterMode(display=False) as counter:
        learner.step([_batch(recipe, setting)])
    return float(counter.get_total_flops())
