"""The one exception of the interpreter."""


class PtxError(Exception):
    """Something that a GPU would not allow, or that the interpreter cannot run.

    The message ends with the instruction, its line in the PTX and, where the compiler left it, its
    line in the source.
    """
