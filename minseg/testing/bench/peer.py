"""The other side: the same work in PyTorch, in both of its memory layouts, on its default device: inside
``with torch.device("cuda"):`` a GPU. Imports torch only when asked to work."""

from collections.abc import Callable

import numpy as np

from minseg.errors import BackendError
from minseg.testing.bench.measuring import Work


def torch_or_error():
    """PyTorch, or BackendError that says how to get it."""
    try:
        import torch
    except ImportError as error:
        raise BackendError(
            "PyTorch is not installed; the comparison needs the extra: pip install minseg[peers]"
        ) from error
    return torch


def layouts() -> dict:
    """PyTorch's two ways to lay out a batch of images in memory, by name: each case is timed in both."""
    import torch

    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def there(array: np.ndarray):
    """The array as a tensor on PyTorch's default device."""
    import torch

    return torch.from_numpy(array).to(torch.get_default_device())


def tensors(arrays, layout) -> list:
    """The arrays as tensors, batches of images in this layout."""
    import torch

    found = [there(array) for array in arrays]
    return [t.contiguous(memory_format=layout if t.ndim == 4 else torch.contiguous_format) for t in found]


def forward(function: Callable, *arrays) -> dict[str, Work]:
    """function(F, *tensors), nothing kept for a backward pass; F is torch.nn.functional."""
    import torch
    from torch.nn import functional as F

    def work_in(layout):
        inputs = tensors(arrays, layout)

        def work():
            with torch.no_grad():
                return function(F, *inputs)

        return work

    return {name: work_in(layout) for name, layout in layouts().items()}


def forward_backward(function: Callable, *arrays) -> dict[str, Work]:
    """function(F, *tensors) and its gradients for all inputs, from a cotangent of ones."""
    import torch
    from torch.nn import functional as F

    def work_in(layout):
        inputs = [t.requires_grad_() for t in tensors(arrays, layout)]
        cotangent = torch.ones_like(function(F, *inputs))
        return lambda: torch.autograd.grad(function(F, *inputs), inputs, cotangent)

    return {name: work_in(layout) for name, layout in layouts().items()}


def gradients(function: Callable, cotangent, *arrays) -> dict[str, Work]:
    """The gradients of function(F, *tensors) for all inputs, without the function itself."""
    import torch
    from torch.nn import functional as F

    def work_in(layout):
        gy, *inputs = tensors((cotangent, *arrays), layout)
        y = function(F, *(t.requires_grad_() for t in inputs))
        return lambda: torch.autograd.grad(y, inputs, gy, retain_graph=True)

    return {name: work_in(layout) for name, layout in layouts().items()}


def convolution_gradient(gy, x, w, wanted: str, stride: int = 1, padding: int = 0) -> dict[str, Work]:
    """One of the two gradients of a convolution alone: ``wanted`` is "x" or "w"."""
    import torch

    mask = [wanted == "x", wanted == "w", False]

    def work_in(layout):
        inputs = tensors((gy, x, w), layout)
        rest = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask)
        return lambda: torch.ops.aten.convolution_backward(*inputs, *rest)

    return {name: work_in(layout) for name, layout in layouts().items()}


def training_step(model, images: np.ndarray, labels: np.ndarray) -> dict[str, Work]:
    """Adam and cross-entropy on twins of this network of ours."""
    import torch

    from minseg.testing.torch_peer import twin

    def work_in(layout):
        network = twin(model).to(torch.get_default_device(), memory_format=layout)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        x, t = there(images).contiguous(memory_format=layout), there(labels)

        def step():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x), t)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return {name: work_in(layout) for name, layout in layouts().items()}


def inference(model, images: np.ndarray) -> dict[str, Work]:
    """A forward pass of twins of this network, for use only."""
    import torch

    from minseg.testing.torch_peer import twin

    def work_in(layout):
        network = twin(model).to(torch.get_default_device(), memory_format=layout).eval()
        x = there(images).contiguous(memory_format=layout)

        def run():
            with torch.inference_mode():
                return network(x)

        return run

    return {name: work_in(layout) for name, layout in layouts().items()}
