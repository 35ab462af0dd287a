"""Whether a tensor's memory holds what its shape promises.

PyTorch trusts that it does, and so would the kernels; but ``tensor.untyped_storage().resize_()``
takes memory away under a tensor's feet, as schemes that shard or offload weights do, and reading
on ends the process. Looked at wherever an address is taken.
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
    reach = tensor.numel()
    if reach and not tensor.is_contiguous():
        reach = 1
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            reach += (size - 1) * stride
    needed = (tensor.storage_offset() + reach) * tensor.element_size() if reach else 0
    held = tensor.untyped_storage().nbytes()
    if held < needed:
        raise ValueError(
            f"{name} of shape {tuple(tensor.shape)} needs {needed} bytes of memory, but its "
            f"storage holds {held}: something resized it, such as untyped_storage().resize_(); "
            f"restore the storage, or give a tensor that owns its memory"
        )


def check_given(name: str, tensor: Tensor) -> None:
    """Call :func:`check_memory` on what a caller gave, where that has memory to be looked at.

    Tensors of a graph that is being traced have none yet (its operators look when they run), and
    those that stand for others in ``torch.func``'s transforms have none of their own.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return
    if type(tensor) in (Tensor, torch.nn.Parameter):  # other classes may be without storage
        check_memory(name, tensor)
