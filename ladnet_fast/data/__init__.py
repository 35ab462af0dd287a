"""Videos, features, ground truth and training samples; needs torch and numpy only.

Only features in HDF5 files need more (h5py, extra "tools").
"""

from .annotations import (
    Boundaries,
    Interval,
    intervals_to_frames,
    read_annotations,
    read_num_frames,
)
from .bags import Bag, BagDataset, Batch, collate
from .features import (
    Crop,
    count_crops,
    feature_shape,
    feature_width,
    iter_crops,
    load_features,
    num_snippets,
)
from .ground_truth import (
    LengthRule,
    ground_truth_length,
    load_ground_truth,
    read_frame_labels,
)
from .layouts import LAYOUTS, Layout
from .lists import read_list
from .manifest import read_manifest, write_manifest
from .missing import LeftOut, leave_out, missing_features
from .pack.format import PackInfo, is_pack, read_info
from .pack.verify import verify_pack
from .pack.write import write_pack
from .samplers import BalancedBatchSampler, EpochSampler
from .sampling import bin_mean, linspace_indices, linspace_sample
from .splits import (
    select_split,
    split_by_fold,
    stratified_folds,
    train_validation_split,
)
from .video import Axes, DataError, FeatureSource, Video

__all__ = [
    "LAYOUTS",
    "Axes",
    "Bag",
    "BagDataset",
    "BalancedBatchSampler",
    "Batch",
    "Boundaries",
    "Crop",
    "DataError",
    "EpochSampler",
    "FeatureSource",
    "Interval",
    "Layout",
    "LeftOut",
    "LengthRule",
    "PackInfo",
    "Video",
    "bin_mean",
    "collate",
    "count_crops",
    "feature_shape",
    "feature_width",
    "ground_truth_length",
    "intervals_to_frames",
    "is_pack",
    "iter_crops",
    "leave_out",
    "linspace_indices",
    "linspace_sample",
    "load_features",
    "load_ground_truth",
    "missing_features",
    "num_snippets",
    "read_annotations",
    "read_frame_labels",
    "read_info",
    "read_list",
    "read_manifest",
    "read_num_frames",
    "select_split",
    "split_by_fold",
    "stratified_folds",
    "train_validation_split",
    "verify_pack",
    "write_manifest",
    "write_pack",
]
