"""What every network must pass: the gradient of the whole, images of any size, no preferred side, and a loss that falls."""

from collections.abc import Iterable

import numpy as np

from minseg.autograd import Parameter, Tensor, gradcheck, no_grad, tensor
from minseg.autograd.gradcheck import GradcheckReport
from minseg.backend import use_backend
from minseg.data import Loader, RandomCrop, open_data
from minseg.nn import CrossEntropyLoss, Module
from minseg.optim import Adam

AWKWARD_SIZES = ((1, 1), (1, 9), (2, 3), (7, 5), (8, 8), (13, 16), (17, 31))


def check_gradients(model: Module, shape: tuple[int, ...], seed: int = 0) -> GradcheckReport:
    """Compare the network's gradient for all its parameters and images of this shape with differences, in one random direction.

    The parameters are moved away from their first values, so that biases of 0 and scales of 1 hide nothing. A network has thousands
    of kinks (ReLU, maxima), which no choice of values avoids; a small one and a fixed seed do. The model is used up.
    """
    model.to(dtype=np.float64)
    rng = np.random.default_rng(seed)
    places = [(m, name) for m in model.modules() for name, value in vars(m).items() if isinstance(value, Parameter)]
    values = [getattr(*place).numpy() for place in places]
    values = [value + 0.1 * rng.standard_normal(value.shape) for value in values]

    def network(x: Tensor, *parameters: Tensor) -> Tensor:
        for place, parameter in zip(places, parameters):
            setattr(*place, parameter)
        return model(x)

    names = ["x", *(f"{type(m).__name__}.{name}" for m, name in places)]
    return gradcheck(network, [rng.standard_normal(shape), *values], names=names, every_element=False)


def output_shapes(model: Module, in_channels: int) -> list[tuple[int, ...]]:
    """The shapes of the logits for one image of each awkward size, in evaluation."""
    rng = np.random.default_rng(0)
    model.eval()
    with no_grad():
        images = (rng.standard_normal((1, in_channels, *size)).astype(np.float32) for size in AWKWARD_SIZES)
        return [model(tensor(image)).shape for image in images]


def flip_error(model: Module, shape: tuple[int, ...]) -> float:
    """How far the logits of the image turned upside down, by the network with its kernels turned, are from the logits turned.

    As a part of the largest logit: rounding, unless padding, cropping or enlarging moves the logits against the image. Sides must
    be such that no layer drops or fills up rows. The model's kernels stay turned.
    """
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model.eval()
    with no_grad():
        logits = model(tensor(x)).numpy()
        for p in model.parameters():
            if p.ndim == 4:
                p.data = tensor(p.numpy()[:, :, ::-1, ::-1].copy()).data
        turned = model(tensor(x[:, :, ::-1, ::-1].copy())).numpy()[:, :, ::-1, ::-1]
    return float(np.abs(turned - logits).max() / np.abs(logits).max())


def squares(count: int, size: int, in_channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of bright rectangles, and where they are."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, size, size), np.uint8)
    for mask in masks:
        top, left, height, width = (*rng.integers(0, size // 2, 2), *rng.integers(size // 4, size // 2, 2))
        mask[top : top + height, left : left + width] = 1
    images = masks[:, None] + 0.3 * rng.standard_normal((count, in_channels, size, size))
    return images.astype(np.float32), masks


def nuclei(steps: int, crop: int = 32, batch_size: int = 4) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Random crops of the embedded micrograph, a batch for each step."""
    data = open_data("nuclei")
    return Loader(data.train, data.preprocess, RandomCrop(crop), batch_size).stream(0, steps)


def losses(model: Module, backend: str, batches: Iterable, lr: float = 1e-2) -> list[float]:
    """Train with Adam, a step for each batch of images and masks: the loss before each step."""
    found = []
    with use_backend(backend):
        optimizer = Adam(model.parameters(), lr=lr)
        for images, masks in batches:
            model.zero_grad()
            loss = CrossEntropyLoss()(model(tensor(images)), masks)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found
