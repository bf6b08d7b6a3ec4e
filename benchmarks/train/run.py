"""The training loop: batches in, checkpoints, log and pictures out, exactly resumable."""

import logging
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from baselines.checkpoints.restorers import load_restorer_network
from baselines.checkpoints.tensors import load_into
from baselines.data import FramePairs, Patches
from baselines.devices import chosen_device
from baselines.machine import Setting, joined_processes, seed_torch
from baselines.method import Method
from baselines.options import RunOptions
from baselines.recipe import Recipe
from benchmarks.train.folder import STARTED_FROM, VALIDATION_FILE, RunFolder, RunState
from benchmarks.train.journal import Journal
from benchmarks.train.steps import DeviceSteps, Steps
from benchmarks.train.validation import Validation
from gopro_tools.content import dataset_facts
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, sha256_of_file, write_atomic
from gopro_tools.images import encode_png
from gopro_tools.records import RunRecord, hash_of, jsonable, seal
from gopro_tools.threads import prefetched

log = logging.getLogger(__name__)

_N_AHEAD = 4  # batches; a plan is cut in a fraction of the time that a GPU takes for a step


OnProgress = Callable[[str, int, int], None]
"""Called with a task (``decoding``, ``training`` or ``fitting``), and how many of its pairs, steps
or parts are done, out of how many."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    step: int
    """Steps done, over all sessions."""
    n_steps: int
    """Steps of the whole training."""
    finished: bool
    """False where it was stopped before the end."""
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
    on_progress: OnProgress = lambda task, done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a network, or continue its training.

    Under torchrun each process calls this with the same arguments and takes its share of every
    batch; all see the same ``out``.

    Args:
        method: What to train.
        recipe: One of its presets, or one made from it.
        data: A dataset in the GOPRO layout: trained on its ``train`` split, validated on ``test``.
        out: Folder of the run: ``checkpoint.safetensors``, ``log.jsonl``, ``validation.png``,
            and at the end ``weights.safetensors`` (the restoring network alone)
            and ``run.json``.
        blur_kind: Of the blurred images.
        options: How the machine does it.
        resume: Continue from the checkpoint in ``out``, or begin where there is none yet. On a CPU
            the result is bit for bit that of a run that was not interrupted.
        on_progress: Called after each step, and while pairs are decoded.
        should_stop: Called after each step; if true, a checkpoint is written and the run ends.

    Raises:
        InputError: Unusable data; ``out`` holds another run; or a loss is not finite: then the
            last checkpoint is from before.
    """
    options = options or RunOptions()
    device = chosen_device(options.device)
    with joined_processes(device) as processes, nullcontext() if processes.rank else claimed(out):
        setting = Setting(device=device, options=options, processes=processes, blur_kind=blur_kind)
        return _Run(method, recipe, data, out, setting, on_progress, resume).go(should_stop)


@dataclass
class _Run:
    """One process's part of a run."""

    method: Method
    recipe: Recipe
    data: Path
    out: Path
    setting: Setting
    on_progress: OnProgress
    resume: bool

    def __post_init__(self) -> None:
        recipe, options, device = self.recipe, self.setting.options, self.setting.device
        method, self.leads = self.method, self.setting.processes.rank == 0
        self.setting.processes.share_of(recipe.patches.batch)  # refuses what cannot be shared
        if method.learner is None:
            raise InputError(f"{method.name} is not trained.")
        self.facts = dataset_facts(self.data, "train", self.setting.blur_kind)
        config: dict[str, Any] = {
            "recipe": jsonable(recipe),
            "options": jsonable(options),
            "n_processes": self.setting.processes.n,
            "data": self.facts,
        }
        if options.start_from is not None:
            config[STARTED_FROM] = _sha256_of_weights(options.start_from)
        self.folder = RunFolder(
            path=self.out,
            kind=method.kind.name if method.kind is not None else method.name,
            config=config,
            data_hash=hash_of({**self.facts, "name": None}),  # a moved dataset is the same
        )
        self.folder.check(resume=self.resume)
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        seed_torch(recipe.seed)  # decides the first weights
        self.learner = method.learner(recipe, self.setting)
        if options.start_from is not None:
            assert method.kind is not None
            network, _ = load_restorer_network(options.start_from, [method.kind])
            load_into(self.learner.networks["restorer"], network.state_dict(), options.start_from)
        pairs = FramePairs(
            self.data,
            "train",
            self.setting.blur_kind,
            cache=options.cache,
            resize_hw=recipe.patches.resize_hw,
            on_progress=partial(self.on_progress, "decoding"),
        )
        self.patches = Patches(pairs, recipe.patches, recipe.seed)
        kind_of_steps = DeviceSteps if self.setting.defers else Steps
        self.steps = kind_of_steps(self.learner, self.patches, self.setting)
        self.epoch_length = recipe.optimisation.epoch_length(len(pairs), recipe.patches.batch)
        self.n_steps = recipe.n_steps(len(pairs))
        self.validation: Validation | None = None
        if self.leads and options.n_validation_images and method.validates:
            self.validation = Validation(self.data, recipe, self.setting)
        self.state = RunState()
        if self.resume and self.folder.has_checkpoint:
            self.state = self.folder.load(self.learner)
            log.info("Continuing at step %d.", self.state.step)
        self.journal = Journal(self.out, step=self.state.step) if self.leads else None

    # --- the loop ---

    def go(self, should_stop: Callable[[], bool]) -> TrainResult:
        state, n_batches = self.state, self.learner.n_batches
        first_step, last_checkpoint, stop = state.step, time.monotonic(), False
        numbers = range(first_step * n_batches, self.n_steps * n_batches)
        n_threads = self.setting.options.n_threads
        ahead = prefetched(self.steps.input, numbers, n_threads=n_threads, n_ahead=_N_AHEAD)
        with closing(ahead) as inputs:
            while True:
                self._validate_if_due()
                if stop or state.step == self.n_steps:
                    break
                begin = time.monotonic()
                own_inputs = [next(inputs) for _ in range(n_batches)]
                got = time.monotonic()
                seed_torch(self.recipe.seed, state.step, self.setting.processes.rank)
                figures = self.steps.take(
                    state.step,
                    own_inputs,
                    self._learning_rate(state.step),
                    is_logged=self._is_logged(state.step + 1),
                )
                figures, stop = self.setting.processes.agree(figures, stop=should_stop())
                state.step += 1
                self._log(figures)
                now = time.monotonic()
                state.seconds["training"] += now - begin
                state.seconds["of_which_waiting_for_data"] += got - begin
                self.on_progress("training", state.step, self.n_steps)
                due = now - last_checkpoint >= self.setting.options.checkpoint_every_s
                # The last checkpoint is written when all is fitted.
                if due and not stop and state.step < self.n_steps:
                    self._save()
                    last_checkpoint = now
        finished = state.step == self.n_steps
        if finished and state.step > first_step:
            begin = time.monotonic()
            self.learner.finish(self.patches.frames, partial(self.on_progress, "fitting"))
            state.seconds["training"] += time.monotonic() - begin
        if state.step > first_step or not state.step:
            self._save()
        if finished and self.leads and not self.folder.is_recorded:
            seal(self.out, self._record(self.folder.save_weights(self.learner, state)))
        return TrainResult(
            step=state.step,
            n_steps=self.n_steps,
            finished=finished,
            checkpoint=self.folder.checkpoint,
            metrics=state.metrics,
        )

    def _is_logged(self, n_done: int) -> bool:
        """Whether a line of the log is due after ``n_done`` steps."""
        return n_done % self.setting.options.log_every == 0 or n_done == self.n_steps

    def _learning_rate(self, step: int) -> float:
        return self.recipe.optimisation.learning_rate_at(step, self.epoch_length)

    def _add(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value

    def _log(self, figures: dict[str, float]) -> None:
        self._add(figures)
        state = self.state
        if not self._is_logged(state.step):
            return
        if self.journal is not None:
            n = state.step % self.setting.options.log_every or self.setting.options.log_every
            means = {name: total / n for name, total in state.sums.items()}
            epoch = (state.step - 1) // self.epoch_length
            rate = self._learning_rate(state.step - 1)
            self.journal.write(state.step, {"epoch": epoch, "learning_rate": rate, **means})
        state.sums = {}

    def _validate_if_due(self) -> None:
        state, journal = self.state, self.journal
        due = state.step % self.setting.options.validate_every == 0 or state.step == self.n_steps
        if not due or journal is None or self.validation is None:
            return
        if state.step in journal.validated_steps:
            return
        scores, picture = self.validation.scores(self.learner.networks["restorer"])
        state.metrics = {"at_step": float(state.step), **scores}
        journal.write(state.step, {f"validation_{key}": value for key, value in scores.items()})
        journal.validated_steps.add(state.step)
        write_atomic(self.out / VALIDATION_FILE, encode_png(picture))

    # --- what lasts ---

    def _save(self) -> None:
        if self.leads:
            self._add(self.steps.pending(self.state.step))
            self.folder.save(self.learner, self.state)

    def _record(self, weights_sha256: str) -> RunRecord:
        n_patches = self.n_steps * self.recipe.patches.batch
        seconds, metrics = self.state.seconds, self.state.metrics
        training = seconds["training"]
        return RunRecord(
            suite="train",
            method=self.recipe.method,
            scale=self.recipe.scale,
            config=self.folder.config,
            results={
                **{f"validation_{name}": value for name, value in metrics.items()},
                "n_validation_images": len(self.validation.pairs) if self.validation else 0,
                "n_steps": self.n_steps,
                "n_patches": n_patches,
                "patches_per_s": n_patches / training if training else 0.0,
            },
            timings_s=seconds,
            dataset=self.facts,
            weights_sha256=weights_sha256,
            protocols=["psnr_rgb"],
            seed=self.recipe.seed,
        )


def _sha256_of_weights(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"--start-from {path}: there is no such file.")
    return sha256_of_file(path)
