"""Training LA-Net: the function that users call."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import Video
from ..data.video import files_of
from ..nn import LANet
from .config import Config
from .evaluation import GroundTruth
from .process import in_main_process, make_accelerator, private_random_state
from .reporting import EpochRecord, Reporter
from .run import SelectedBy, TrainingRun
from .run_folder import RunFolder
from .weights import load_model


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training gave.

    ``model`` is on the CPU in evaluation mode, with the weights of ``epoch`` (from 1), which
    ``selected_by`` chose by ``metric`` = ``value`` (None for the last epoch). ``seconds`` counts
    this call only.
    """

    model: LANet
    run_dir: Path
    epoch: int
    selected_by: SelectedBy
    metric: str | None
    value: float | None
    history: tuple[EpochRecord, ...]
    seconds: float


def train(
    config: Config,
    videos: Sequence[Video],
    *,
    run_dir: str | os.PathLike[str],
    test_videos: Sequence[Video] | None = None,
    test_ground_truth: GroundTruth | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    command: Sequence[str] | None = None,
    source: Mapping[str, Any] | None = None,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> TrainResult:
    """Train LA-Net on bags of snippets and keep the chosen epoch's weights.

    Writes to ``run_dir``: ``config.yaml`` and ``run.json`` before the first step, then
    ``model.safetensors`` (the chosen epoch so far), ``checkpoint.safetensors`` (to resume from) and
    ``history.json``, each atomically. torch's global random state is as before when this returns.

    Parameters
    ----------
    config : Config
        All options that the result depends on.
    videos : sequence of Video
        Training videos, of which ``training.validation`` are held out to choose the epoch.
    run_dir : path-like
        Folder of this run; must not hold another one.
    test_videos : sequence of Video, optional
        Looked at only with ``training.select_on_test``, which needs them.
    test_ground_truth : GroundTruth, optional
        Theirs; default: their own ``frame_labels``.
    resume : bool
        Go on from the folder's checkpoint; start afresh if it has none. The result is the same,
        bit for bit on the CPU, as that of a run that was never stopped.
    reporter : Reporter, optional
        Is told of progress, on the main process; nothing is printed without one.
    command, source : optional
        For ``run.json``: the command line (default ``sys.argv``) and where the videos came from.
    inputs : iterable of path-like
        Files beside the videos' own that have been read, such as the manifest: the run is refused
        where it would write over one.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        If the run folder, the configuration and the videos don't go together; if the run would
        write over an input or a file of somebody else; if another process trains in the folder.
    TrainingDivergedError
        If the loss is NaN or infinite. Checkpoint and model keep the last good state.
    MissingExtraError
        If accelerate, pyyaml or (to validate) scikit-learn is not installed (extra "tools").
    """
    start = time.monotonic()
    accelerator = make_accelerator(config.training)
    talk = reporter if reporter is not None and accelerator.is_main_process else Reporter()
    # One folder for all processes, even if each has named one after its own clock.
    folder = RunFolder(Path(in_main_process(accelerator, lambda: os.fspath(run_dir))))
    read = [*inputs, *files_of([*videos, *(test_videos or ())])]
    if test_ground_truth is not None and test_ground_truth.source is not None:
        read.append(test_ground_truth.source)
    try:
        with (
            private_random_state(accelerator.device, config.training.deterministic),
            contextlib.ExitStack() as held,
        ):
            run = TrainingRun(
                config, videos, folder, accelerator, talk,
                test_videos, test_ground_truth or GroundTruth(),
            )  # fmt: skip

            def take() -> None:
                folder.check(read, run.config, resume=resume, tested=test_videos or ())
                held.enter_context(folder.locked())
                # Checked again under the lock: another process may have written meanwhile.
                folder.check(read, run.config, resume=resume, tested=test_videos or ())

            in_main_process(accelerator, take)
            run.prepare(resume, command, source)
            run.loop()
            model = load_model(folder.path)
            best = run.best
    finally:
        talk.close()
    return TrainResult(
        model=model,
        run_dir=folder.path,
        epoch=best["epoch"],
        selected_by=run.selected_by,
        metric=None if run.validator is None else run.validator.metric,
        value=best["value"],
        history=tuple(run.history),
        seconds=time.monotonic() - start,
    )
