"""PTX text to kernels: their parameters, registers, shared layout and instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .errors import PtxError
from .formats import bits

_STATEMENT = re.compile(
    r"\s*(?:(?P<brace>[{}])"
    r"|\.loc\s+(?P<file>\d+)\s+(?P<line>\d+)[^\n]*"
    r"|(?P<label>[\w$]+):(?!:)"
    r"|(?P<text>[^;]*);)"
)
_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\((.*?)\)([^{;]*)\{", re.DOTALL)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+"
    r"(?:\.ptr\s+(?:\.(?:global|shared|const|local)\s+)?(?:\.align\s+\d+\s+)?)?"
    r"([\w$]+)(?:\[(\d+)\])?"
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)")
_VARIABLE = re.compile(  # not the unsized array that is dynamic shared memory
    r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.([bsuf]\d+)\s+([A-Za-z_$][\w$]*)(?![\w$])(?!\[\])"
    r"(?:\[(\d+)\])?"
)
_DYNAMIC_SHARED = re.compile(r"\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[\]")
_DATA = re.compile(
    r"(?m)^(?:\.visible\s+|\.weak\s+)?\.(?:global|const)\s+(?:\.align\s+\d+\s+)?"
    r"\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?(?:\s*=\s*([^;]*))?;"
)
_NAME = re.compile(r"%?[A-Za-z_$][\w$]*")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``@guard op.modifiers operands``."""

    guard: str | None  # a predicate, with "!" before it where it is negated
    op: list[str]  # the name, then the modifiers
    args: list[str]
    text: str
    place: str  # its line in the PTX and, if known, in the source

    @property
    def name(self) -> str:
        """The instruction's name, without modifiers."""
        return self.op[0]

    def has(self, *modifiers: str) -> bool:
        """Return whether any of the modifiers is there."""
        return not set(modifiers).isdisjoint(self.op)

    def types(self, known: dict[str, object]) -> list[str]:
        """Return the modifiers that are types, in order."""
        return [part for part in self.op if part in known]

    def __str__(self) -> str:
        return f"{self.text}  ({self.place})"


@dataclass(frozen=True)
class Data:
    """A variable of the module in global or constant memory."""

    kind: str
    name: str
    count: int
    values: list[str]


@dataclass
class Kernel:
    """A parsed ``.entry``."""

    name: str
    parameters: list[tuple[str, str, int]]  # type, name, bytes
    data: list[Data]
    required_threads: int | None  # .reqntid
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)  # labels that brx.idx chooses from
    registers: dict[str, int] = field(default_factory=dict)  # name -> bits
    shared: dict[str, int] = field(default_factory=dict)  # name -> offset
    shared_bytes: int = 0  # without dynamic shared memory, which lies behind
    local: dict[str, int] = field(default_factory=dict)
    local_bytes: int = 0


def parse(text: str) -> dict[str, Kernel]:
    """Parse a PTX module; return its kernels by name."""
    files = dict(re.findall(r'(?m)^\s*\.file\s+(\d+)\s+"(?:[^"]*/)?([^"/]*)"', text))
    text = _without_comments(text)
    entries = [
        (entry, entry.end(), _closing_brace(text, entry.end())) for entry in _ENTRY.finditer(text)
    ]
    module = _without_spans(text, [(begin, end) for _, begin, end in entries])
    data = [
        Data(kind, name, int(count or 1), re.findall(r"[^\s{},]+", values))
        for kind, name, count, values in _DATA.findall(module)
    ]
    variables = [found for found in _VARIABLE.finditer(module) if found[1] == "shared"]
    kernels = {}
    for entry, begin, end in entries:
        parameters = [
            (kind, name, int(count or 1) * bits(kind) // 8)
            for kind, name, count in _PARAMETER.findall(entry[2])
        ]
        required = re.search(r"\.reqntid\s+([\d, ]+)", entry[3])
        threads = int(np.prod([int(n) for n in required[1].split(",")])) if required else None
        kernel = Kernel(entry[1], parameters, data, threads)
        body = text[begin:end]
        # Shared variables of inlined functions stand outside of the kernels that use them.
        used = [found for found in variables if found[4] in body]
        _Body(kernel, files, used).read(body, text.count("\n", 0, begin) + 1)
        kernel.shared.update(dict.fromkeys(_DYNAMIC_SHARED.findall(module), kernel.shared_bytes))
        kernels[kernel.name] = kernel
    return kernels


def _without_spans(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text without the spans, which rise."""
    ends = [0, *(end for _, end in spans)]
    begins = [*(begin for begin, _ in spans), len(text)]
    return "".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))


def _without_comments(text: str) -> str:
    """Blank out comments, keeping every line where it is."""
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return start + brace.start()
    raise PtxError("a kernel's closing brace is missing")


def _statements(body: str, line: int) -> Iterator[tuple[re.Match[str], int]]:
    """Split a function's body; yield every statement with its line."""
    position = 0
    while found := _STATEMENT.match(body, position):
        start = found.start(found.lastgroup or 0)
        line += body.count("\n", position, start)
        yield found, line
        line += body.count("\n", start, found.end())
        position = found.end()
    if body[position:].strip():
        raise PtxError(f"PTX line {line}: cannot parse {body[position : position + 80]!r}")


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


class _Body:
    """Fills a kernel from the statements of its body."""

    def __init__(
        self, kernel: Kernel, files: dict[str, str], variables: list[re.Match[str]]
    ) -> None:
        self.kernel = kernel
        self.files = files
        # Registers of inner { } scopes are renamed, so that all have names of their own.
        self.scopes: list[dict[str, str]] = [{}]
        self.renamed = 0
        self.source = ""
        for found in variables:
            self._declare_variable(found)

    def read(self, body: str, line: int) -> None:
        """Read all statements; ``line`` is where the body begins."""
        kernel, label = self.kernel, ""
        for found, at in _statements(body, line):
            text = " ".join((found["text"] or "").split())
            if found["brace"] == "{":
                self.scopes.append({})
            elif found["brace"] == "}":
                self.scopes.pop()
            elif found["file"]:
                self.source = f", {self.files.get(found['file'], '?')}:{found['line']}"
            elif found["label"]:
                kernel.labels[found["label"]] = len(kernel.instructions)
                label = found["label"]
            elif text.startswith(".branchtargets"):
                kernel.tables[label] = re.findall(r"[\w$]+", text)[1:]
            elif registers := _REGISTERS.match(text):
                self._declare_registers(registers[1], registers[2])
            elif variable := _VARIABLE.match(text):
                self._declare_variable(variable)
            elif text and not text.startswith("."):
                kernel.instructions.append(self._instruction(text, f"PTX line {at}{self.source}"))
        kernel.shared_bytes = _aligned(kernel.shared_bytes, 16)
        kernel.local_bytes = _aligned(kernel.local_bytes, 16)

    def _declare_registers(self, kind: str, names: str) -> None:
        for entry in names.split(","):
            stem, _, count = entry.strip().rstrip(">").partition("<")
            for name in [f"{stem}{i}" for i in range(int(count))] if count else [stem]:
                own = name
                if len(self.scopes) > 1:
                    self.renamed += 1
                    own = self.scopes[-1][name] = f"{name}@{self.renamed}"
                self.kernel.registers[own] = bits(kind)

    def _declare_variable(self, found: re.Match[str]) -> None:
        space, alignment, kind, name, count = found.groups()
        element = bits(kind) // 8
        size, align = int(count or 1) * element, int(alignment or element)
        kernel = self.kernel
        if space == "shared":
            kernel.shared[name] = _aligned(kernel.shared_bytes, align)
            kernel.shared_bytes = kernel.shared[name] + size
        else:
            kernel.local[name] = _aligned(kernel.local_bytes, align)
            kernel.local_bytes = kernel.local[name] + size

    def _instruction(self, text: str, place: str) -> Instruction:
        names = {old: new for scope in self.scopes[1:] for old, new in scope.items()}
        if names:
            text = _NAME.sub(lambda found: names.get(found[0], found[0]), text)
        guard = re.match(r"@(!?\S+)\s+", text)
        op, _, rest = text[guard.end() if guard else 0 :].partition(" ")
        args = [arg.strip() for arg in _OPERAND.findall(rest)]
        return Instruction(guard[1] if guard else None, op.split("."), args, text, place)
