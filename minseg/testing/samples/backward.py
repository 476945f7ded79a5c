"""How samples of gradients run the code: a tensor operation, backwards from a given cotangent, on the current backend."""

from collections.abc import Callable

import numpy as np

from minseg.autograd import Tensor, tensor


def gradient(function: Callable[..., Tensor], of: int, cotangent: np.ndarray, *inputs: np.ndarray) -> np.ndarray:
    """The gradient for one input (number ``of``) of function(*inputs), where its output has this cotangent."""
    tensors = [tensor(array, requires_grad=number == of) for number, array in enumerate(inputs)]
    function(*tensors).backward(tensor(cotangent))
    return Tensor(tensors[of].grad).numpy()
