"""Training, scoring and evaluation; what these need beside torch comes with the extra "tools"."""

from .checkpoint import Checkpoint, CheckpointError, load_checkpoint
from .coercion import ConfigError
from .config import Config, load_config, save_config
from .divergence import TrainingDivergedError
from .evaluation import GroundTruth, evaluate_scores
from .folds import CrossValidation, cross_validate
from .plots import save_plot, score_figure
from .reporting import (
    EpochRecord,
    Plan,
    Reporter,
    Reporters,
    StepRecord,
    TensorBoardReporter,
)
from .run_info import run_info, write_run_info
from .scoring import read_scores, score_video, score_videos, write_scores
from .sections import LossConfig, ModelConfig, TrainingConfig
from .training import TrainResult, train
from .weights import load_model, save_model

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Config",
    "ConfigError",
    "CrossValidation",
    "EpochRecord",
    "GroundTruth",
    "LossConfig",
    "ModelConfig",
    "Plan",
    "Reporter",
    "Reporters",
    "StepRecord",
    "TensorBoardReporter",
    "TrainResult",
    "TrainingConfig",
    "TrainingDivergedError",
    "cross_validate",
    "evaluate_scores",
    "load_checkpoint",
    "load_config",
    "load_model",
    "read_scores",
    "run_info",
    "save_config",
    "save_model",
    "save_plot",
    "score_figure",
    "score_video",
    "score_videos",
    "train",
    "write_run_info",
    "write_scores",
]
