"""Whether a tensor's storage is as large as its shape needs.

It may be smaller: ``tensor.untyped_storage().resize_()``, which schemes that shard or offload
weights call, frees memory of a tensor that still exists. A kernel that reads such a tensor crashes
the process, so this is checked wherever a tensor's address is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check_memory(name: str, tensor: Tensor) -> None:
    """Raise ``ValueError`` if the tensor's storage ends before its elements do.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    tensor : Tensor
        Dense (``torch.strided``) and real: tensors that stand for others, as inside
        ``torch.vmap``, have no storage.
    """
    held = tensor.untyped_storage().nbytes()
    needed = tensor.nbytes
    if needed and not (tensor.is_contiguous() and tensor.storage_offset() == 0):
        last = int(tensor.storage_offset())
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            last += (size - 1) * stride
        needed = (last + 1) * tensor.element_size()
    if held < needed:
        raise ValueError(
            f"{name} must have {needed} bytes of memory behind its shape {tuple(tensor.shape)}; "
            f"got a storage of {held}. Something resized it, such as untyped_storage().resize_(): "
            f"restore the storage, or give a tensor that owns its memory."
        )


def check_given(name: str, tensor: Tensor) -> None:
    """Call `check_memory` on an argument, if it is a tensor with memory.

    Tensors of a graph that is being traced have none yet; its operators check them when they run.
    Tensors that stand for others in ``torch.func``'s transforms have none of their own.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return
    if type(tensor) in (Tensor, torch.nn.Parameter):  # other classes may have no storage
        check_memory(name, tensor)
