# SPDX-License-Identifier: Apache-2.0
"""One job: create, train and test a model, and collect all measurements in one flat record."""

import importlib
import tempfile
import traceback
from math import gcd
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from anomalib import LearningType
from anomalib.engine import Engine
from lightning.pytorch import seed_everything

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.evaluation import RawEvaluator
from anomalib_clip3dad.benchmark.grid import USUAL_BATCH, Job
from anomalib_clip3dad.benchmark.measure import Clock, machine, peak_cpu_bytes, peak_gpu_bytes, trained_parameters
from anomalib_clip3dad.data import AuxiliaryDataModule
from anomalib_clip3dad.errors import InputError, explanation

Record = dict[str, Any]


def attempt(job: Job, cpus: int | None = None) -> Record | str:
    """Run a job; full error messages go to stderr.

    Args:
        job: Job of a grid.
        cpus: Threads that it may use; None = torch's default.

    Returns:
        Its record, or the reason why there is none.
    """
    try:
        return run_job(job, cpus)
    except Exception as error:
        traceback.print_exc()
        return explanation(error) or traceback.format_exception_only(error)[-1].strip().splitlines()[-1]


def run_job(job: Job, cpus: int | None = None) -> Record:
    """Train and test a model.

    Args:
        job: Job of a grid.
        cpus: Threads that it may use.

    Returns:
        The four metrics in [0, 1], and those of each category (`by_category`) if others than the trained one are
        tested, of which the four are the means; `fit_seconds` (None for models without training) and `test_seconds`,
        both including reading and metrics; `samples_per_second` of the model alone; memory and checkpoint in bytes
        (memory of this process, which should run a single job); trained parameters, shots, device and versions.
    """
    if cpus:
        torch.set_num_threads(cpus)
    seed_everything(job.seed, workers=True, verbose=False)
    model = _load(job.class_path)(
        **job.init_args, evaluator=RawEvaluator(job.evaluation_size), post_processor=False, visualizer=False
    )
    # models that limit their own training, such as memory banks, which more steps would fill with the same shots again
    if "max_epochs" in model.trainer_arguments:
        job = job._replace(trainer={name: value for name, value in job.trainer.items() if name != "max_steps"})
    data = make_data(job)
    data.prepare_data()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(default_root_dir=folder, **_engine_arguments(job, clock))
        fit_seconds, trained = None, 0
        # anomalib does not train zero- or few-shot models (seen in 2.7.0, Engine.train)
        if model.learning_type not in {LearningType.ZERO_SHOT, LearningType.FEW_SHOT}:
            start = perf_counter()
            engine.fit(model, datamodule=data)
            fit_seconds = perf_counter() - start
            trained = trained_parameters(engine.trainer) + getattr(model, "trained_parameters", 0)
        start = perf_counter()
        metrics = engine.test(model, datamodule=data, verbose=False)[0]
        test_seconds = perf_counter() - start
        checkpoint = Path(folder) / "benchmark.ckpt"
        engine.trainer.save_checkpoint(checkpoint)
        device = engine.trainer.strategy.root_device
        checkpoint_bytes = checkpoint.stat().st_size
    return {
        **{name: float(metrics[name]) for name in METRICS},
        "by_category": {
            category: {name: float(metrics[f"{name}/{category}"]) for name in METRICS} for category in job.tested
        },
        "fit_seconds": fit_seconds,
        "test_seconds": test_seconds,
        "test_samples": clock.samples,
        "samples_per_second": clock.samples / clock.seconds,
        "peak_cpu_bytes": peak_cpu_bytes(),
        "peak_gpu_bytes": peak_gpu_bytes(device),
        "trained_parameters": trained,
        "checkpoint_bytes": checkpoint_bytes,
        "shots": " ".join(getattr(data, "training_files", ())),  # only in this package's data modules
        **machine(device),
    }


def make_data(job: Job) -> Any:
    """Create the data module of a job.

    If training is limited by epochs, as for memory banks, one epoch has each shot exactly once: the batch size is a
    divisor of k, since `FewShotDataModule` fills batches with repeated shots. There is no validation unless the grid
    sets it, since raw scores need no threshold. So if others are tested, all labelled samples of a category train.
    """
    arguments = {"val_split_mode": "none", **job.data_init_args}
    if job.tested:
        source = _load(job.data_class_path)(category=job.category, **arguments)
        sizes = {name: getattr(source, name) for name in ("train_batch_size", "eval_batch_size", "num_workers")}
        return AuxiliaryDataModule(source, None, job.tested, **sizes, val_split_ratio=0, seed=job.seed)
    if "max_steps" not in job.trainer:
        arguments["train_batch_size"] = gcd(job.k_shot, arguments.get("train_batch_size", USUAL_BATCH))
    return _load(job.data_class_path)(category=job.category, k_shot=job.k_shot, shot_seed=job.seed, **arguments)


def _engine_arguments(job: Job, clock: Clock) -> dict[str, Any]:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return {"devices": 1, **quiet, **job.trainer, "callbacks": [clock]}


def _load(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"class_path={class_path}: cannot be imported ({error}); correct it or install its package"
        raise InputError(msg) from None
