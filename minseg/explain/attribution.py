"""Which pixels and which features speak for a class: gradients of a score for the image (saliency) and for a layer (Grad-CAM)."""

import contextlib

import numpy as np

from minseg.autograd import Tensor, no_grad, tensor
from minseg.errors import ArgumentError, ShapeError
from minseg.explain.record import record, telling, untouched
from minseg.nn import Conv2d, Module, instead


def saliency(model: Module, image: np.ndarray, target: int, pixels: np.ndarray | None = None) -> np.ndarray:
    r"""How much each pixel of the image moves the score of a class.

    Equation ``explain.saliency``
    -----------------------------
    .. math::
        S_{i,j} = \max_{c=0}^{C-1}|g_{c,i,j}|

    Parameters
    ----------
    model : Module
        Maps (N, C, H, W) to logits (N, K, H, W); runs in evaluation mode.
    image : array (C, H, W), float
        Preprocessed as in training.
    target : int
        The class k. Its score is the sum of the logits :math:`z_{k}` over the pixels of interest; g is its gradient.
    pixels : bool array (H, W), optional
        The pixels of interest; all, where left out.

    Returns
    -------
    array (H, W)
        In logits per unit of the image, 0 or more.

    Raises
    ------
    ShapeError, ArgumentError
        If the image is not (C, H, W), the class does not exist, or no pixel is chosen.
    """
    x = _one_image(image, requires_grad=True)
    with untouched(model):
        _score(model(x), target, pixels).backward()
    return np.abs(Tensor(x.grad).numpy()[0]).max(axis=0)  # eq: explain.saliency


def grad_cam(model: Module, image: np.ndarray, target: int, layer: str, pixels: np.ndarray | None = None) -> np.ndarray:
    r"""Where the features of a layer speak for a class: its channels, weighted with their mean gradient.

    Equation ``explain.gradcam``
    ----------------------------
    .. math::
        S_{u,v} = \max(0,\sum_{k=0}^{K-1}\frac{1}{HW}(\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}g_{k,i,j})A_{k,u,v})

    Parameters
    ----------
    model, image, target, pixels
        As for ``saliency``.
    layer : str
        The dotted name of a module that gives feature maps (1, K, h, w), once a forward pass; ``landmark_layer`` proposes one.

    Returns
    -------
    array (h, w)
        At the layer's resolution; ``viz.enlarge`` lays it over the image.

    Raises
    ------
    ArgumentError
        If there is no such layer, it runs more than once, or the score does not depend on it.
    """
    with untouched(model), record(model, layer, cut=True) as seen:
        score = _score(model(_one_image(image)), target, pixels)
        A = _feature_maps(seen[layer], layer)
        if not score.requires_grad:
            raise ArgumentError(f"grad_cam: the scores do not depend on the layer {layer!r}; choose one before them")
        score.backward()
    A, g = A.numpy()[0], Tensor(A.grad).numpy()[0]
    weights = g.mean(axis=(1, 2))
    return np.maximum(0, np.tensordot(weights, A, axes=1))  # eq: explain.gradcam


def features(model: Module, image: np.ndarray, layer: str) -> np.ndarray:
    """The feature maps (K, h, w) that a layer makes of an image (C, H, W); errors as in ``grad_cam``."""
    with untouched(model), no_grad(), record(model, layer) as seen:
        model(_one_image(image))
    return _feature_maps(seen[layer], layer).numpy()[0]


def filters(model: Module, layer: str | None = None) -> np.ndarray:
    """The kernels (O, C, R, S) of a convolution: of the named layer, or of the first that the model has."""
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, Conv2d)}
    if not convolutions or (layer is not None and layer not in convolutions):
        wanted = "no convolution" if layer is None else f"no convolution {layer!r}"
        raise ArgumentError(f"filters: {type(model).__name__} has {wanted}; it has {', '.join(convolutions) or 'none'}")
    return Tensor(convolutions[layer or next(iter(convolutions))].weight.data).numpy()


def attention_of(weights: np.ndarray, pixel: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """What one pixel attends to: its row of the attention weights (``att.weights``), as a picture.

    Parameters
    ----------
    weights : array (Q, K) or (heads, Q, K)
        Rows sum to 1; the mean over the heads is taken. Pixels are counted row by row.
    pixel : (row, column)
        On the grid of pixels or patches that attend.
    size : (h, w)
        Of that grid; h * w = Q = K.

    Returns
    -------
    array (h, w)
        Shares of the pixel's attention; they sum to 1.
    """
    weights = np.asarray(weights)
    (h, w), (row, column) = size, pixel
    if weights.ndim not in (2, 3) or weights.shape[-2:] != (h * w, h * w):
        raise ShapeError(
            f"attention_of: weights must be (heads, N, N) with N = {h} * {w} = {h * w} pixels, got {weights.shape}"
        )
    if not (0 <= row < h and 0 <= column < w):
        raise ArgumentError(f"attention_of: the pixel {pixel} lies outside of the {h} x {w} pixels that attend")
    per_head = weights.reshape(-1, h * w, h, w)
    return per_head[:, row * w + column].mean(axis=0)


def landmark_layer(model: Module, image: np.ndarray, coarsest: int = 16) -> str:
    """The layer to ask first: of those with the coarsest maps, but at least 1/``coarsest`` of the image's side, the last to run.

    There a network has seen most around each place, and its channels stand for parts of things rather than for edges. Layers with
    a channel for each class, which hold scores already, come last.
    """
    finished: dict[str, list] = {}  # in the order in which they run
    with untouched(model), no_grad(), contextlib.ExitStack() as blocks:
        for name, module in model.named_modules():
            tell = lambda output, name=name: finished.setdefault(name, []).append(output)  # noqa: E731
            blocks.enter_context(instead(module, telling(module.forward, tell)))
        classes = model(_one_image(image)).shape[1]
    sizes = {
        name: outputs[0].shape[2:]
        for name, outputs in finished.items()
        if name and len(outputs) == 1 and isinstance(outputs[0], Tensor) and outputs[0].ndim == 4
    }
    enough = [
        name for name, (h, w) in sizes.items() if h * coarsest >= image.shape[1] and w * coarsest >= image.shape[2]
    ]
    if not enough:
        raise ArgumentError(f"{type(model).__name__} has no layer with feature maps; name one")
    rich = [name for name in enough if finished[name][0].shape[1] != classes] or enough
    smallest = min(sizes[name][0] * sizes[name][1] for name in rich)
    return [name for name in rich if sizes[name][0] * sizes[name][1] == smallest][-1]


def _one_image(image: np.ndarray, requires_grad: bool = False) -> Tensor:
    """The image (C, H, W) as a batch of one."""
    if image.ndim != 3 or 0 in image.shape:
        raise ShapeError(f"expected one image (C, H, W), got {image.shape}")
    return tensor(np.ascontiguousarray(image[None]), requires_grad)


def _score(logits: Tensor, target: int, pixels: np.ndarray | None) -> Tensor:
    """The sum of the class's logits over the pixels of interest."""
    classes, size = logits.shape[1], logits.shape[2:]
    if not 0 <= target < classes:
        raise ArgumentError(f"the class must be 0 to {classes - 1}, got {target}")
    pixels = np.ones(size, bool) if pixels is None else np.asarray(pixels)
    if pixels.shape != size or pixels.dtype != bool:
        raise ShapeError(
            f"pixels must be booleans {size}, one for each of the model's, got {pixels.dtype} {pixels.shape}"
        )
    if not pixels.any():
        raise ArgumentError("no pixel is chosen; a score needs at least one")
    return (logits[0, target] * tensor(pixels.astype(logits.dtype))).sum()


def _feature_maps(outputs: list, layer: str) -> Tensor:
    """The only output, if it is feature maps."""
    shapes = [output.shape if isinstance(output, Tensor) else type(output).__name__ for output in outputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ArgumentError(f"the layer {layer!r} must give feature maps (1, K, h, w) once, but it gave {shapes}")
    return outputs[0]
