"""Training steps: our options against the plain eager form in float32, in one run.

Every contender trains DeepDeblur with K = 3 on the same batch, which lies on the device already: a
step is forward, backward and Adam. On a GPU it is the paper's network on 256x256 patches; on a CPU,
where that takes a minute a step, the smoke preset's. The contenders take turns, so that a busy
machine slows all alike; the figure is the median step.
"""

import logging
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from baselines.data import Batch
from benchmarks.devices import chosen_device, to_layout
from benchmarks.speed.timing import Timing, ratio_table
from benchmarks.train.learners import make_learner
from benchmarks.train.machine import Processes, RunOptions
from benchmarks.train.recipes import DeepDeblurRecipe, deepdeblur_recipe

logger = logging.getLogger(__name__)

Argument = TypeVar("Argument")
Result = TypeVar("Result")

PLAIN = "plain: eager, float32"
STRICT = "plain, without TF32"

CONTENDERS: Mapping[str, RunOptions] = {
    PLAIN: RunOptions(channels_last=False),
    "channels_last": RunOptions(),
    "bf16": RunOptions(precision="bf16", channels_last=False),
    "bf16, channels_last": RunOptions(precision="bf16"),
    "bf16, channels_last, compiled": RunOptions(precision="bf16", compile=True),
}

_N_WARM_UP = 3


def measure(n_rounds: int = 15) -> list[Timing]:
    """Time a training step of every contender that runs here."""
    device = chosen_device("auto")
    recipe = benchmark_recipe(device)
    steps = ready(CONTENDERS, lambda name: _warmed_up(name, device))
    if device.type == "cuda":
        steps = {STRICT: _without_tf32(steps[PLAIN]), **steps}
    seconds = take_turns(steps, device, n_rounds)
    n_flop, peak = _n_flop(device), matmul_flop_per_s(device)
    timings = []
    for name, values in seconds.items():
        median = statistics.median(values)
        note = f"{n_flop / median / 1e12:.3g} TFLOP/s"
        if peak is not None:
            note += f", {n_flop / median / peak:.0%} of a large bf16 matrix product here"
        if name == PLAIN:
            size = recipe.patches.patch_px
            note += f"; {recipe.n_features} features, patches of {size}x{size}, {device.type}"
        timings.append(
            Timing(
                name=name,
                seconds=median,
                n_units=recipe.patches.batch,
                unit="patches",
                peak_mib=in_own_process(_peak_mib, name) if name in CONTENDERS else None,
                n_repeats=len(values),
                note=note,
            )
        )
    return timings


def tables(timings: Sequence[Timing]) -> list[Table]:
    """One table; the first contender's note says what was trained."""
    return [ratio_table("One training step of DeepDeblur, K = 3", timings, best_of(timings))]


def best_of(timings: Sequence[Timing]) -> str:
    """Name of the fastest contender: which options those are differs from machine to machine."""
    return max(timings, key=lambda timing: timing.rate).name


def benchmark_recipe(device: torch.device) -> DeepDeblurRecipe:
    """What is trained: the paper's network on a GPU, the smoke preset's on a CPU."""
    return deepdeblur_recipe("smoke" if device.type == "cpu" else "reduced")


def ready(
    names: Sequence[str] | Mapping[str, object], prepare: Callable[[str], Callable[[], object]]
) -> dict[str, Callable[[], object]]:
    """Warmed-up calls by name; one that does not run here is named and left out."""
    calls = {}
    for name in names:
        try:
            calls[name] = prepare(name)
        except Exception as error:  # torch.compile fails in many ways where there is no compiler
            logger.warning("%s does not run here and is left out: %s", name, error)
    return calls


def take_turns(
    contenders: Mapping[str, Callable[[], object]], device: torch.device, n_rounds: int
) -> dict[str, list[float]]:
    """Seconds of each call of each contender, the device's work included."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(n_rounds):
        for name, call in contenders.items():
            _synchronise(device)
            begin = time.perf_counter()
            call()
            _synchronise(device)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def in_own_process(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """Call a function where no other contender has left its memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, argument).result()


def process_peak_mib(device: torch.device) -> float:
    """Largest memory of this process so far: the GPU's, or what was resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says is at least what the parent process had
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts in bytes


def matmul_flop_per_s(device: torch.device) -> float | None:
    """What a large bf16 matrix product reaches on this GPU, a peak one can have; None on a CPU."""
    if device.type != "cuda":
        return None
    n = 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = take_turns({"product": lambda: torch.mm(a, b)}, device, 20)["product"]
    return float(2 * n**3 / statistics.median(seconds))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _without_tf32(step: Callable[[], object]) -> Callable[[], object]:
    """Torch lets GPUs round the factors of float32 convolutions to 10 bits unless told not to."""

    def strict() -> object:
        with torch.backends.cudnn.flags(allow_tf32=False, benchmark=True):
            return step()

    strict()
    return strict


def _warmed_up(name: str, device: torch.device) -> Callable[[], object]:
    options, recipe = CONTENDERS[name], benchmark_recipe(device)
    torch.backends.cudnn.benchmark = True  # as training does
    learner = make_learner(recipe, options, device, Processes())
    batch = _batch(recipe, options, device)

    def step() -> object:
        return learner.step([batch], recipe.optimisation.learning_rate)

    for _ in range(_N_WARM_UP):
        step()
    return step


def _batch(recipe: DeepDeblurRecipe, options: RunOptions, device: torch.device) -> Batch:
    torch.manual_seed(0)
    shape = (recipe.patches.batch, 3, recipe.patches.patch_px, recipe.patches.patch_px)
    blurred, sharp = (
        to_layout(torch.rand(shape).to(device), channels_last=options.channels_last)
        for _ in range(2)
    )
    return Batch(number=0, blurred=blurred, sharp=sharp)


def _n_flop(device: torch.device) -> float:
    """Floating-point operations of one step's convolutions, forward and backward."""
    recipe, options = benchmark_recipe(device), CONTENDERS[PLAIN]
    learner = make_learner(recipe, options, device, Processes())
    with FlopCounterMode(display=False) as counter:
        learner.step([_batch(recipe, options, device)], recipe.optimisation.learning_rate)
    return float(counter.get_total_flops())


def _peak_mib(name: str) -> float:
    device = chosen_device("auto")
    _warmed_up(name, device)
    return process_peak_mib(device)
