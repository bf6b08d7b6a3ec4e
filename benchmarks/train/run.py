"""The training loop: batches in, checkpoints, log and pictures out, exactly resumable."""

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from filelock import FileLock, Timeout

from baselines.checkpoints import (
    load_into,
    load_latest,
    load_restorer_network,
    previous_of,
    save_checkpoint,
)
from baselines.data import Batch, FramePairs, Patches
from baselines.device_patches import DevicePatches, Plan
from baselines.devices import chosen_device, to_layout
from baselines.learning import NotFiniteError, load_optimizer
from baselines.machine import Processes, RunOptions, joined_processes, scalars, seed_torch
from baselines.method import Learner, Method, Recipe, Setting
from baselines.restoring import NetworkRestorer, RestoreOptions
from benchmarks.train.device_loop import DeviceLoop, StepNotFiniteError
from benchmarks.train.journal import Journal, image_strip, middle_square, plot_curves
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.images import Rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.records import (
    RUN_FILE,
    RunRecord,
    dataset_facts,
    hash_of,
    jsonable,
    read_record,
    to_json,
)
from gopro_tools.threads import prefetched

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
STRIP_FOLDER = "validation"

_SECONDS_BETWEEN_PLOTS = 30.0
_N_AHEAD = 4  # batches; a plan is cut in a fraction of the time that a GPU takes for a step


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is, for whoever shows it."""

    task: str
    """``decoding``, ``training`` or ``fitting``."""
    done: int
    """Pairs, steps or parts."""
    total: int
    """Of how many."""
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    """``patches_per_s``, ``content`` and the like."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    step: int
    """Steps done, over all sessions."""
    n_steps: int
    """Steps of the whole training."""
    finished: bool
    """False where it was told to stop before the end."""
    checkpoint: Path
    """The trained network, and all that ``resume`` needs."""
    metrics: dict[str, float]
    """Of the last validation, by name with unit, and ``at_step``, after which it was; empty without
    one."""


def train(
    method: Method,
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    blur_kind: BlurKind = "gamma",
    options: RunOptions | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    told_to_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a network, or go on training it.

    Under torchrun each process calls this with the same arguments and takes its share of every
    batch; all see the same ``out``.

    Args:
        method: What to train.
        recipe: How: one of its presets, or one made from it.
        data: A dataset in the GOPRO layout: trained on its ``train`` split, validated on ``test``.
        out: Folder of the run: ``checkpoint.safetensors``, ``log.jsonl``, ``curves.png``,
            ``validation/``, and at the end ``weights.safetensors`` (the restoring network alone)
            and ``run.json``.
        blur_kind: Which blurred images.
        options: How the machine does it.
        resume: Go on from the checkpoint in ``out``, or begin where there is none yet. On a CPU
            the result is bit for bit that of a run that was not interrupted.
        on_progress: Called now and then.
        told_to_stop: Asked after each step; if true, a checkpoint is written and the run ends.

    Raises:
        InputError: Unusable data; ``out`` holds another run; or a loss is not finite: then its
            batch lies in ``out``, and the last checkpoint is from before.
    """
    options = options or RunOptions()
    device = chosen_device(options.device)
    with joined_processes(device) as processes, _locked(out, leads=processes.rank == 0):
        run = _Run(method, recipe, data, out, blur_kind, options, device, processes)
        with closing(run):
            run.open(resume, on_progress)
            return run.go(on_progress, told_to_stop)


@contextmanager
def _locked(out: Path, *, leads: bool) -> Iterator[None]:
    """Keep a second run out of the folder; the system lets go of the lock of a killed process."""
    if not leads:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(
            f"{out}: another process is training there; wait for it, stop it, or choose another "
            "--out."
        ) from error


def _out_of_memory(device: torch.device) -> str:
    return (
        f"A step does not fit into the memory of {device}: use a smaller --batch or --patch-px, "
        "--precision bf16, or more processes."
    )


def _sha256_of_weights(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"--start-from {path}: there is no such file.")
    return sha256_of_file(path)


class _Run:
    """One process's part of a run."""

    learner: Learner
    patches: Patches

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        data: Path,
        out: Path,
        blur_kind: BlurKind,
        options: RunOptions,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.method, self.recipe, self.options = method, recipe, options
        self.data, self.out, self.blur_kind = data, out, blur_kind
        self.device, self.processes = device, processes
        self.leads = processes.rank == 0
        self.kind = method.kind.name if method.kind is not None else method.name
        self.journal: Journal | None = None
        self.step = 0
        self.sums: dict[str, float] = {}  # of the figures since the last line of the log
        self.seconds = {"training": 0.0, "of_which_waiting_for_data": 0.0}
        self.metrics: dict[str, float] = {}
        self.last_plot = -_SECONDS_BETWEEN_PLOTS
        self.validation: list[tuple[Rgb, Rgb]] = []
        self.facts = dataset_facts(data, "train", blur_kind)
        self.data_hash = hash_of({**self.facts, "name": None})  # a moved dataset is the same
        self.config = {
            "recipe": jsonable(recipe),
            "options": jsonable(options),
            "n_processes": processes.n,
            "data": self.facts,
        }
        if options.start_from is not None:
            self.config["started_from_sha256"] = _sha256_of_weights(options.start_from)

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    # --- beginning ---

    def open(self, resume: bool, on_progress: Callable[[Progress], None]) -> None:
        recipe, options = self.recipe, self.options
        share = self.processes.share_of(recipe.patches.batch)
        self._check_folder(resume)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        if self.method.learner is None:
            raise InputError(f"{self.method.name} is not trained.")
        seed_torch(recipe.seed)  # decides the first weights
        setting = Setting(
            device=self.device, options=options, processes=self.processes, blur_kind=self.blur_kind
        )
        self.learner = self.method.learner(recipe, setting)
        if options.start_from is not None:
            self._start_from(options.start_from)

        def show(done: int, total: int) -> None:
            on_progress(Progress(task="decoding", done=done, total=total))

        def frames() -> FramePairs:
            return FramePairs(
                self.data,
                "train",
                self.blur_kind,
                cache=options.cache,
                cache_folder=options.cache_folder or self.out / "cache",
                resize_hw=recipe.patches.resize_hw,
                on_progress=show,
            )

        # The first process writes a memory map before the others read it.
        if self.leads:
            pairs = frames()
            self.processes.wait_for_all()
        else:
            self.processes.wait_for_all()
            pairs = frames()
        self.patches = Patches(pairs, recipe.patches, recipe.seed)
        self.share = share
        self.device_loop: DeviceLoop | None = None
        if options.defers(self.device, self.processes):
            try:
                self.device_patches = DevicePatches(self.patches, self.device)
            except torch.OutOfMemoryError as error:
                raise InputError(
                    f"The decoded pairs do not fit into the memory of {self.device}: --loop host "
                    "cuts the patches on the CPU."
                ) from error
            self.device_loop = DeviceLoop(self.learner, self.device_patches, self.device)
        epoch_length = recipe.optimisation.epoch_length(len(pairs), recipe.patches.batch)
        self.epoch_length = epoch_length
        self.n_steps = recipe.n_steps(len(pairs))
        if self.leads and options.n_validation_images and self.method.validates:
            self.validation = self._validation_pairs()
        if resume and self._has_checkpoint():
            self._load()
        if self.leads:
            write_atomic(self.out / CONFIG_FILE, to_json(self.config))
            self.journal = Journal(self.out, step=self.step)

    def _start_from(self, weights: Path) -> None:
        assert self.method.kind is not None
        network, _ = load_restorer_network(weights, [self.method.kind])
        load_into(self.learner.networks["restorer"], network.state_dict(), weights)

    def _has_checkpoint(self) -> bool:
        path = self.out / CHECKPOINT_FILE
        return path.is_file() or previous_of(path).is_file()

    def _is_recorded(self) -> bool:
        """Whether the record of the finished run is there, and whole."""
        try:
            read_record(self.out)
        except InputError:
            return False
        return True

    def _check_folder(self, resume: bool) -> None:
        checkpoint = self.out / CHECKPOINT_FILE
        if not self._has_checkpoint():
            return
        if not resume:
            raise InputError(
                f"{self.out}: there is a run already; --resume goes on with it, or choose another "
                "--out."
            )
        before = load_latest(checkpoint, with_training_state=False).record
        wanted = jsonable(self.recipe)
        stored = before.config.get("recipe", {})
        differing = [key for key in {**wanted, **stored} if wanted.get(key) != stored.get(key)]
        if differing:
            raise InputError(
                f"{self.out}: the run there has another recipe ({', '.join(sorted(differing))} "
                f"differ); what it used is in {CONFIG_FILE}. Repeat its options, or choose another "
                "--out."
            )
        key = "started_from_sha256"
        if before.config.get(key) != self.config.get(key):
            raise InputError(
                f"{self.out}: the run there started from other weights; name the same with "
                "--start-from, or choose another --out."
            )
        if before.data_hash != self.data_hash:
            raise InputError(
                f"{self.out}: the run there was trained on other data than {self.data} "
                f"({self.blur_kind}); name the same, or choose another --out."
            )

    def _validation_pairs(self) -> list[tuple[Rgb, Rgb]]:
        try:
            pairs = FramePairs(
                self.data, "test", self.blur_kind, resize_hw=self.recipe.patches.resize_hw
            )
        except InputError as error:
            raise InputError(
                f"{error} Validation needs a test split; --n-validation-images 0 does without."
            ) from error
        n = min(self.options.n_validation_images, len(pairs))
        chosen = np.linspace(0, len(pairs) - 1, n).round().astype(int)
        crop_px = self.options.validation_crop_px
        images = [pairs.frames(int(index)) for index in chosen]
        if crop_px is None:
            return images
        return [(middle_square(b, crop_px), middle_square(s, crop_px)) for b, s in images]

    def _load(self) -> None:
        path = self.out / CHECKPOINT_FILE
        checkpoint = load_latest(path)
        state = checkpoint.training_state
        for name, network in self.learner.networks.items():
            load_into(network, checkpoint.networks[name], str(path))
            # A compiled or channels_last network keeps its layout: values are copied in.
            load_optimizer(self.learner.optimizers[name], state["optimizers"][name])
        self.step = checkpoint.record.step or 0
        self.sums = state["sums"]
        self.seconds = state["seconds"]
        self.metrics = dict(checkpoint.record.metrics)
        log.info("Going on at step %d.", self.step)

    # --- going on ---

    def go(
        self, on_progress: Callable[[Progress], None], told_to_stop: Callable[[], bool]
    ) -> TrainResult:
        stop = False
        first_step = self.step
        last_checkpoint = session_begin = time.monotonic()
        n_session_patches = 0
        take_step = self._host_step if self.device_loop is None else self._device_step
        with closing(self._inputs()) as inputs:
            while True:
                self._validate_if_due()
                if stop or self.step == self.n_steps:
                    break
                begin = time.monotonic()
                own_inputs = [next(inputs) for _ in range(self.learner.n_batches)]
                got = time.monotonic()
                figures, stop = self.processes.agree(take_step(own_inputs), stop=told_to_stop())
                self.step += 1
                self._log(figures)
                now = time.monotonic()
                self.seconds["training"] += now - begin
                self.seconds["of_which_waiting_for_data"] += got - begin
                n_session_patches += self.recipe.patches.batch
                rate = n_session_patches / (now - session_begin)
                on_progress(
                    Progress(
                        task="training",
                        done=self.step,
                        total=self.n_steps,
                        figures={"patches_per_s": rate},
                    )
                )
                due = now - last_checkpoint >= self.options.checkpoint_every_s
                # The last checkpoint is written when all is fitted.
                if due and not stop and self.step < self.n_steps:
                    self._save()
                    last_checkpoint = now
        finished = self.step == self.n_steps
        if finished and self.step > first_step:
            self._finish(on_progress)
        if self.step > first_step or not self.step:
            self._save()
        if finished and self.leads and not self._is_recorded():
            self._save_weights()
            write_atomic(self.out / RUN_FILE, to_json(self.record()))
        return TrainResult(
            step=self.step,
            n_steps=self.n_steps,
            finished=finished,
            checkpoint=self.out / CHECKPOINT_FILE,
            metrics=self.metrics,
        )

    def _inputs(self) -> Generator[Any]:
        """Batches, or plans of them where the device cuts them."""
        pin = self.device.type == "cuda"
        first, last = (step * self.learner.n_batches for step in (self.step, self.n_steps))

        def make(number: int) -> Batch | Plan:
            if self.device_loop is None:
                return self.patches.batch(number, self.share, pin=pin)
            return self.device_patches.plan(number, self.share, pin=pin)

        yield from prefetched(
            make, range(first, last), n_threads=self.options.n_threads, n_ahead=_N_AHEAD
        )

    def _host_step(self, batches: list[Batch]) -> dict[str, float]:
        """Take a step and wait for its figures."""
        seed_torch(self.recipe.seed, self.step, self.processes.rank)
        on_device = [batch.to(self.device) for batch in batches]
        layout = self.options.channels_last
        on_device = [
            dataclasses.replace(
                batch,
                blurred=to_layout(batch.blurred, channels_last=layout),
                sharp=to_layout(batch.sharp, channels_last=layout),
            )
            for batch in on_device
        ]
        try:
            self.learner.start(self._learning_rate(self.step))
            return scalars(self.learner.step(on_device))
        except torch.OutOfMemoryError as error:
            raise InputError(_out_of_memory(self.device)) from error
        except NotFiniteError as error:
            raise self._not_finite(self.step, error) from error

    def _device_step(self, plans: list[Plan]) -> dict[str, float]:
        """Take a step, and the sums of the figures where a line of the log is due."""
        assert self.device_loop is not None
        seed_torch(self.recipe.seed, self.step, self.processes.rank)
        try:
            self.device_loop.step(plans, self._learning_rate(self.step))
        except torch.OutOfMemoryError as error:
            raise InputError(_out_of_memory(self.device)) from error
        n_done = self.step + 1
        due = n_done % self.options.log_every == 0 or n_done == self.n_steps
        return self._taken_figures(n_done) if due else {}

    def _taken_figures(self, n_done: int) -> dict[str, float]:
        """Sums that the device holds after ``n_done`` steps; none where figures are looked at."""
        if self.device_loop is None:
            return {}
        try:
            return self.device_loop.take_figures()
        except StepNotFiniteError as error:
            step = n_done - error.n_steps_ago
            # Batches are pure functions of their number: the step's last one is made again.
            number = step * self.learner.n_batches + self.learner.n_batches - 1
            error.batch = self.device_loop.batch_of(self.device_patches.plan(number, self.share))
            raise self._not_finite(step, error) from error

    def _not_finite(self, step: int, error: NotFiniteError) -> InputError:
        name = f"not-finite-step{step:06d}-rank{self.processes.rank}.safetensors"
        tensors = {
            "blurred": error.batch.blurred.cpu().contiguous(),
            "sharp": error.batch.sharp.cpu().contiguous(),
        }
        figures = {key: str(value) for key, value in error.figures.items()}
        write_atomic(self.out / name, safetensors.torch.save(tensors, metadata=figures))
        return InputError(
            f"{self.out}: step {step} gave {error.figures} in the {error.network}. The "
            f"weights were not changed by it; its batch is in {name}, and the last checkpoint "
            "(if any) is from before. A lower --learning-rate, --clip-gradient-norm 1 or "
            "--precision fp32 may help."
        )

    def _finish(self, on_progress: Callable[[Progress], None]) -> None:
        begin = time.monotonic()

        def show(done: int, total: int) -> None:
            on_progress(Progress(task="fitting", done=done, total=total))

        self.learner.finish(self.patches.frames, show)
        self.seconds["training"] += time.monotonic() - begin

    def _learning_rate(self, step: int) -> float:
        return self.recipe.optimisation.learning_rate_at(step, self.epoch_length)

    def _log(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        n = self.step % self.options.log_every or self.options.log_every
        if n == self.options.log_every or self.step == self.n_steps:
            if self.journal is not None:
                means = {name: total / n for name, total in self.sums.items()}
                epoch = (self.step - 1) // self.epoch_length
                rate = self._learning_rate(self.step - 1)
                self.journal.write(self.step, {"epoch": epoch, "learning_rate": rate, **means})
            self.sums = {}

    def _validate_if_due(self) -> None:
        due = self.step % self.options.validate_every == 0 or self.step == self.n_steps
        if not due or self.journal is None or not self.validation:
            return
        if self.step in self.journal.validated_steps:
            return
        restorer = NetworkRestorer(
            self.learner.networks["restorer"],
            RestoreOptions(
                device=str(self.device),
                half="bf16" if self.options.precision == "bf16" else None,
                channels_last=self.options.channels_last,
                rounding=self.recipe.output_rounding,
            ),
        )
        # Whole images have sizes of their own; compiling for each would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            rows = [(b, restorer.restore(b), sharp) for b, sharp in self.validation]
        self.metrics = {
            "at_step": float(self.step),
            "psnr_rgb_db": float(
                np.mean([psnr_rgb(sharp, restored) for _, restored, sharp in rows])
            ),
            "blurred_psnr_rgb_db": float(
                np.mean([psnr_rgb(sharp, blurred) for blurred, _, sharp in rows])
            ),
        }
        self.journal.write(
            self.step,
            {f"validation_{k}": value for k, value in self.metrics.items() if k != "at_step"},
        )
        self.journal.validated_steps.add(self.step)
        write_atomic(self.out / STRIP_FOLDER / f"{self.step:07d}.png", image_strip(rows))
        now = time.monotonic()
        if self.step < self.n_steps and now - self.last_plot < _SECONDS_BETWEEN_PLOTS:
            return  # drawing takes a second, in which a GPU would have nothing to do
        self.last_plot = now
        if not plot_curves(self.out, f"{self.recipe.method}, {self.recipe.preset}") and (
            self.step in (0, self.n_steps)
        ):
            log.warning("No curves are drawn: matplotlib is missing (the extra `report` has it).")

    def _save(self) -> None:
        if not self.leads:
            return
        for name, value in self._taken_figures(self.step).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        optimizers = {
            name: optimizer.state_dict() for name, optimizer in self.learner.optimizers.items()
        }
        save_checkpoint(
            self.out / CHECKPOINT_FILE,
            self.learner.networks,
            method=self.kind,
            config=self.config,
            step=self.step,
            metrics=self.metrics,
            data_hash=self.data_hash,
            training_state={"optimizers": optimizers, "sums": self.sums, "seconds": self.seconds},
            keep_previous=True,
        )

    def _save_weights(self) -> None:
        save_checkpoint(
            self.out / WEIGHTS_FILE,
            {"restorer": self.learner.networks["restorer"]},
            method=self.kind,
            config=self.config,
            step=self.step,
            metrics=self.metrics,
            data_hash=self.data_hash,
        )

    def record(self) -> RunRecord:
        """What a finished run is remembered by."""
        n_patches = self.n_steps * self.recipe.patches.batch
        training = self.seconds["training"]
        return RunRecord(
            suite="train",
            method=self.recipe.method,
            scale=self.recipe.scale,
            config=self.config,
            results={
                **{f"validation_{name}": value for name, value in self.metrics.items()},
                "n_validation_images": len(self.validation),
                "n_steps": self.n_steps,
                "n_patches": n_patches,
                "patches_per_s": n_patches / training if training else 0.0,
            },
            timings_s=self.seconds,
            dataset=self.facts,
            weights_sha256=sha256_of_file(self.out / WEIGHTS_FILE),
            protocols=["psnr_rgb"],
            seed=self.recipe.seed,
        )
