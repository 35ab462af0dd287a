import subprocess
import sys

PROGRAM = """
import sys
for name in ("h5py", "sklearn", "accelerate", "matplotlib", "yaml", "rich", "typer"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
import numpy as np
from ladnet_fast.data import BagDataset, collate, load_features, read_manifest
from ladnet_fast.metrics import frame_scores
np.save("a.npy", np.ones((3, 2)))
open("videos.csv", "w").write("video,features,label\\na,a.npy,1\\n")
data = BagDataset(read_manifest("videos.csv"))
assert collate([data[0]]).features.shape == (1, 3, 2)
assert len(frame_scores([0.5] * 3, 16)) == 48
open("all.h5", "w").close()
try:
    load_features("all.h5::a")
except ImportError as error:
    print(error)
"""


def test_manifests_and_npy_features_need_the_core_only_and_hdf5_names_its_extra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "h5py is needed to read all.h5" in done.stdout
    assert "pip install 'ladnet-fast[tools]'" in done.stdout
