"""Videos, features, ground truth and training samples; needs torch and numpy only.

Only features in HDF5 files need more (h5py, extra "tools").
"""

from ladnet_fast.data.annotations import (
    Boundaries,
    Interval,
    intervals_to_frames,
    read_annotations,
    read_num_frames,
)
from ladnet_fast.data.bags import Bag, BagDataset, Batch, collate
from ladnet_fast.data.features import (
    Crop,
    count_crops,
    feature_shape,
    feature_width,
    iter_crops,
    load_features,
    num_snippets,
)
from ladnet_fast.data.ground_truth import (
    LengthRule,
    ground_truth_length,
    load_ground_truth,
    read_frame_labels,
)
from ladnet_fast.data.layouts import LAYOUTS, Layout
from ladnet_fast.data.lists import read_list
from ladnet_fast.data.manifest import read_manifest, write_manifest
from ladnet_fast.data.missing import LeftOut, leave_out, missing_features
from ladnet_fast.data.pack.format import PackInfo, is_pack, read_info
from ladnet_fast.data.pack.verify import verify_pack
from ladnet_fast.data.pack.write import write_pack
from ladnet_fast.data.samplers import BalancedBatchSampler, EpochSampler
from ladnet_fast.data.sampling import bin_mean, linspace_indices, linspace_sample
from ladnet_fast.data.splits import (
    select_split,
    split_by_fold,
    stratified_folds,
    train_validation_split,
)
from ladnet_fast.data.video import Axes, DataError, FeatureSource, Video

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
