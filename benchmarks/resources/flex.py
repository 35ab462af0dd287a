"""FlexAttention's own Triton kernels, compiled for GPUs that are not there, and counted.

PyTorch makes them from templates when a model is compiled on a GPU. Here the installed torch's
templates are filled in as its compiler would for one shape and the functions of
`benchmarks.peers`, in the tiles that it takes by default for each architecture (torch 2.13,
``torch/_inductor/template_heuristics/triton.py``). Two things are left out that would cost it more:
its gradients of w and b, which are atomic additions for every entry, and loads of w and b in the
loop, which are constants here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch
import triton

from ladnet_fast._files import atomic_write_text

from .sass import Loop
from .triton_build import Build
from .triton_rows import PRODUCTS, count_products, product_loops

PATH = Path(__file__).parents[1] / "gpu" / "model" / "flex.json"
TEMPLATES = Path(torch.__file__).parent / "_inductor" / "kernel" / "flex" / "templates"
ARCHITECTURES = (80, 90, 100)
#: Of the prior: what `benchmarks.peers` has FlexAttention compute.
KINDS = ("none", "logit", "band")
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
#: Rows and columns of a block mask's blocks; without a mask there is one block.
_SPARSE, _NO_MASK = 128, 1 << 30
_REACH = 96
#: Of the prior, whose numbers change no instruction.
W, B = 0.01, 0.1


@dataclass(frozen=True)
class Tiles:
    """A configuration; forward: rows of queries and of keys in a tile.

    Backward, for dK and dV, and then for dQ: rows of queries and of keys.
    """

    rows: tuple[int, ...]
    stages: int
    warps: int


def tiles_of(architecture: int, precision: str, backward: bool) -> Tiles:
    """Return what torch 2.13 takes by default at a head size of 128."""
    if not backward:
        if precision == "bf16":
            return Tiles((128, 64), 3, 8)
        return Tiles((128, 32) if architecture == 80 else (32, 64), 3, 4)
    if precision == "fp32":
        return Tiles((16, 16, 16, 16), 1, 4)
    found = {80: Tiles((64, 64, 64, 64), 2, 4), 90: Tiles((64, 128, 128, 64), 3, 8)}
    return found.get(architecture, Tiles((64, 128, 128, 64), 3, 4))


@dataclass(frozen=True)
class Row:
    """What a kernel takes; loops by their products: of the backward pass dK and dV, then dQ."""

    registers: int
    shared: int
    local: int
    loops: tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """One kernel of FlexAttention at a head size of 128."""

    architecture: int
    precision: str
    kind: str
    backward: bool
    divisible: bool
    """Whether the length is a multiple of 128: else every tile is masked."""

    @property
    def name(self) -> str:
        """The row's name, e.g. "sm_90 bf16 logit backward ragged"."""
        words = [f"sm_{self.architecture}", self.precision, self.kind]
        words.append("backward" if self.backward else "forward")
        return " ".join([*words, *([] if self.divisible else ["ragged"])])


def variants() -> Iterator[Variant]:
    """Yield the kernels that the cases of the model need: fp32 is for short bags alone."""
    for architecture in ARCHITECTURES:
        for precision in _DTYPES:
            for kind in KINDS:
                for backward in (False, True):
                    for divisible in (True, False):
                        if precision == "bf16" or not divisible:
                            yield Variant(architecture, precision, kind, backward, divisible)


def compile_variant(variant: Variant) -> Row:
    """Fill in the templates, compile, and take the machine code apart."""
    tiles = tiles_of(variant.architecture, variant.precision, variant.backward)
    rendered = Rendered(variant, 4096 if variant.divisible else 200)
    with rendered.kernel() as kernel:
        build = Build(
            kernel, rendered.arguments(_DTYPES[variant.precision]),
            architecture=variant.architecture,
            options={"num_warps": tiles.warps, "num_stages": tiles.stages},
        )  # fmt: skip
        binary = build.compile()
    report, program = binary.read()
    kinds = [kind for kind, names in PRODUCTS.items() if program.count(names)]
    found = product_loops(program, kinds)
    wanted = 2 if variant.backward else 1
    if len(found) != wanted:
        raise RuntimeError(f"{variant.name} should have {wanted} loops with products; it has "
                           f"{len(found)}")  # fmt: skip

    def products(loop: Loop) -> int:
        return count_products(loop, kinds)

    # dK and dV take four products a tile, dQ three of the same size.
    loops = tuple(len(loop) for loop in sorted(found, key=products, reverse=True))
    return Row(report.registers, binary.shared_bytes, report.local, loops)


def write(progress: Callable[[str], None]) -> None:
    """Compile all variants and write their rows; ``progress`` is called with each name."""
    rows = {}
    for variant in variants():
        progress(variant.name)
        rows[variant.name] = dataclasses.asdict(compile_variant(variant))
    about = {"torch": torch.__version__.partition("+")[0], "triton": triton.__version__}
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    text = f'{{\n  "compilers": {json.dumps(about)},\n  "rows": {{\n{lines}\n  }}\n}}\n'
    atomic_write_text(PATH, text)


def read() -> dict[str, Row]:
    """Return the rows that `write` has left."""
    found = json.loads(PATH.read_text(encoding="utf-8"))["rows"]
    return {name: Row(**{**row, "loops": tuple(row["loops"])}) for name, row in found.items()}


class Rendered:
    """The templates with everything filled in for one bag, one head and a head size of 128."""

    def __init__(self, variant: Variant, T: int) -> None:
        self._variant = variant
        tiles = tiles_of(variant.architecture, variant.precision, variant.backward)
        self._T = T
        masked = variant.kind == "band"
        names = ("BLOCK_M1", "BLOCK_N1", "BLOCK_M2", "BLOCK_N2") if variant.backward else (
            "BLOCK_M", "BLOCK_N")  # fmt: skip
        self._options: dict[str, Any] = {
            **dict(zip(names, tiles.rows, strict=True)),
            "FLOAT32_PRECISION": "'ieee'",
            "IS_DIVISIBLE": variant.divisible,
            "SM_SCALE": 128**-0.5,
            "GQA_SHARED_HEADS": 1,
            "HAS_FULL_BLOCKS": False,
            "SPARSE_Q_BLOCK_SIZE": _SPARSE if masked else _NO_MASK,
            "SPARSE_KV_BLOCK_SIZE": _SPARSE if masked else _NO_MASK,
            "QK_HEAD_DIM": 128, "QK_HEAD_DIM_ROUNDED": 128,
            "V_HEAD_DIM": 128, "V_HEAD_DIM_ROUNDED": 128,
            "SAFE_HEAD_DIM": True,
            "PRESCALE_QK": False,
            "ROWS_GUARANTEED_SAFE": False,
            "BLOCKS_ARE_CONTIGUOUS": False,
            "WRITE_DQ": True,
            "OUTPUT_LOGSUMEXP": True,
            "OUTPUT_MAX": False,
            "INDEX_DTYPE": "tl.int32",
        }  # fmt: skip
        self._names: tuple[str, ...] = ()
        parts = ("flex_backwards", "utilities") if variant.backward else (
            "flex_attention", "utilities", "common")  # fmt: skip
        source = "".join((TEMPLATES / f"{part}.py.jinja").read_text("utf-8") for part in parts)
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - Python, from the installed torch
        )
        environment.filters["indent_except_first"] = lambda text, steps: text.replace(
            "\n", "\n" + "    " * steps
        )
        body = environment.from_string(source).render(
            def_kernel=self._begin, gen_argdefs=lambda: ", ".join(self._given()),
            gen_defines=self._defines, stride=self._stride, size=self._size,
            modification=self._modification, store_output=self._store,
            USE_TMA=False, HAS_FULL_BLOCKS=False,
        )  # fmt: skip
        self.text = f"import triton\nimport triton.language as tl\n\n\n{body}"

    @contextmanager
    def kernel(self) -> Iterator[Any]:
        """Yield the kernel, as Triton knows it while the block runs."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "flex_kernel.py"  # Triton reads the functions' sources
            path.write_text(self.text, encoding="utf-8")
            spec = importlib.util.spec_from_file_location("flex_kernel", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            try:
                spec.loader.exec_module(module)
                yield module.flex_kernel
            finally:
                del sys.modules[spec.name]

    def arguments(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Return tensors without memory for the kernel's arguments."""
        kinds = dict.fromkeys(("LSE", "MAX", "DELTA"), torch.float32)
        kinds |= {n: torch.int32 for n in self._names if n.endswith(("BLKS", "IDX"))}
        found = {f"arg_{name}": kinds.get(name, dtype) for name in self._names}
        found["out_ptr"] = dtype
        return {name: torch.empty(16, dtype=kind, device="meta") for name, kind in found.items()}

    def _given(self) -> list[str]:
        return [*(f"arg_{name}" for name in self._names), "out_ptr"]

    def _defines(self) -> str:
        return "\n".join(f"{name}: tl.constexpr = {x}" for name, x in self._options.items())

    def _begin(self, *names: str) -> str:
        self._names = names
        lines = [*self._defines().splitlines(), *(f"{name} = arg_{name}" for name in names)]
        return "@triton.jit\ndef flex_kernel({}):\n{}".format(
            ", ".join(self._given()), "\n".join(f"    {line}" for line in lines)
        )

    def _blocks(self) -> int:
        return math.ceil(self._T / _SPARSE) if self._variant.kind == "band" else 1

    def _stride(self, name: str, axis: int | None = None) -> str:
        strides: tuple[int, ...]
        if name.endswith("BLKS"):
            strides = (self._blocks(), self._blocks(), 1)
        elif name.endswith("IDX"):
            strides = (self._blocks() ** 2, self._blocks() ** 2, self._blocks(), 1)
        else:
            strides = (self._T * 128, self._T * 128, 128, 1)
        return ", ".join(map(str, strides)) if axis is None else str(strides[axis])

    def _size(self, name: str, axis: int) -> str:
        return str((1, 1, self._T, 128)[axis])

    def _modification(self, output_name: str | None, **given: Any) -> str:
        if output_name is None:  # gradients of w and b
            return "pass"
        if output_name == "mask_mod_output":
            if self._variant.kind != "band":
                return f"{output_name} = tl.full([1], True, tl.int1)"
            return f"{output_name} = tl.abs({given['m']} - {given['n']}) <= {_REACH}"
        if output_name == "grad_scores":
            scale = "0.0 * " if self._variant.kind == "band" else ""
            return f"{output_name} = {scale}{given['grad_score_mod']}"
        assert output_name == "post_mod_scores"
        if self._variant.kind == "none":
            return f"{output_name} = {given['score']}"
        distance = f"distance = ({given['m']} - {given['n']}).to(tl.float32)"
        log_prior = f"log_prior = -tl.abs({W} * (distance * distance) + {B})"
        end = {"logit": "{} + tl.exp(log_prior)", "band": "0.0 * {} + log_prior"}
        value = end[self._variant.kind].format(given["score"])
        return f"{distance}\n{log_prior}\n{output_name} = {value}"

    def _store(self, at: tuple[str, str, str, str], value: str, mask: str, **_: Any) -> str:
        bag, head, row, column = at
        place = f"out_ptr + (({bag} + {head}) * {self._T} + {row}) * 128 + {column}"
        return f"tl.store({place}, {value}, {mask})"
