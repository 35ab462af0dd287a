"""Shell commands that convert other formats into .npy; tests run them as they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

# Part of a kind's name -> what to do, what the command imports, how it gets array a from path p.
_ONLY = {
    "MATLAB 5": (
        "convert its only variable (needs scipy, which ladnet-fast[tools] brings)",
        "; from scipy.io import loadmat",
        "m = loadmat(p); (k,) = [k for k in m if k[:2] != '__']; a = m[k]",
    ),
    "MATLAB 7.3": (
        "convert its only data set (needs h5py, which ladnet-fast[tools] brings)",
        ", h5py",
        "m = h5py.File(p); (k,) = [k for k in m if k[0] != '#']; a = np.transpose(m[k])",
    ),
    "HDF5": (
        "convert its only data set (needs h5py, which ladnet-fast[tools] brings)",
        ", h5py",
        "m = h5py.File(p); (k,) = m; a = m[k][()]",
    ),
    "NumPy": ("give it the suffix .npy", "", "a = np.load(p, allow_pickle=False)"),
    "zip": (
        "if it is .npz, convert its only array",
        "",
        "m = np.load(p, allow_pickle=False); (k,) = m.files; a = m[k]",
    ),
}
_TENSOR = (
    "if torch.save wrote one tensor into it, convert that",
    ", torch",
    "a = torch.load(p, map_location='cpu', weights_only=True).float().numpy()",
)


def conversion(kind: str, path: Path, what: Literal["features", "vector"]) -> str | None:
    """Say how to convert a file to ``.npy``, with the command; None where there is none.

    Parameters
    ----------
    kind : str
        What the file is; see `ladnet_fast.data._content.binary_kind`.
    path : Path
        The file.
    what : "features" or "vector"
        What the file should hold; a vector is flattened.
    """
    is_tensor = "zip" in kind and path.suffix.lower() in (".pt", ".pth", ".pkl")
    entry = _TENSOR if is_tensor else next((e for part, e in _ONLY.items() if part in kind), None)
    if entry is None:
        return None
    how, imports, load = entry
    array = "np.ravel(a)" if what == "vector" else "a"
    program = f"import sys, numpy as np{imports}; p, q = sys.argv[1:]; {load}; np.save(q, {array})"
    return f"{how}:\n  {python_command(program, path, beside(path))}"


def object_array_command(path: Path) -> str:
    """Return the command that turns an object array into arrays of numbers."""
    program = (
        "import sys, numpy as np; p = sys.argv[1]; a = np.load(p, allow_pickle=True); "
        "a = a.item() if a.ndim == 0 else a; "
        "r = [np.asarray(np.asarray(x).tolist(), np.float32) for x in a]; "
        "np.save(p, np.stack(r)) if len({x.shape for x in r}) == 1 else "
        "[np.save(f'{p[:-4]}__{i}.npy', x) for i, x in enumerate(r)]"
    )
    return python_command(program, path)


def reshape_command(path: Path, shape: tuple[int, ...]) -> str:
    """Return the command that gives the array in ``path`` another shape."""
    return python_command(
        "import sys, numpy as np; p = sys.argv[1]; "
        f"a = np.load(p, allow_pickle=False); np.save(p, a.reshape({shape}))",
        path,
    )


def python_command(program: str, *arguments: Path) -> str:
    """Return ``python -c PROGRAM ARGUMENTS`` for a shell, whatever the arguments' characters."""
    return f'python -c "{program}" {" ".join(shlex.quote(str(path)) for path in arguments)}'


def beside(path: Path) -> Path:
    """Return a path for the converted file that is not taken yet."""
    target, number = path.with_suffix(".npy"), 0
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem}-{number}.npy")
    return target
