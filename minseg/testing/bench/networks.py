"""Whole networks: a training step with Adam and cross-entropy on a fixed batch, and inference."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

import minseg
from minseg import models, ops, optim
from minseg.testing.bench import peer
from minseg.testing.bench.measuring import Case, Work

CLASSES = 4
TITLES = {"unet": "UNet", "segnet": "SegNet", "deeplab": "DeepLab", "attention_decoder": "AttentionDecoder"}


@dataclass(frozen=True)
class Network:
    """A network with its own widths, and a batch for it."""

    name: str = "unet"
    batch: tuple[int, int, int, int] = (8, 3, 128, 128)

    @property
    def title(self) -> str:
        return f"{TITLES[self.name]}({self.batch[1]}, {CLASSES})"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, C, H, W) and labels (N, H, W)."""
        rng = np.random.default_rng(0)
        N, _, H, W = self.batch
        return rng.standard_normal(self.batch, dtype=np.float32), rng.integers(0, CLASSES, (N, H, W))

    def model(self):
        return models.build(self.name, self.batch[1], CLASSES)

    def training_step(self) -> Work:
        model = self.model()
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        x, t = map(minseg.tensor, self.data())

        def step():
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def inference(self) -> Work:
        model, x = self.model().eval(), minseg.tensor(self.data()[0])

        def run():
            with minseg.no_grad():
                return model(x)

        return run

    def training_case(self) -> Case:
        return Case(
            "networks",
            f"training step, {self.title}",
            times(self.batch),
            self.training_step,
            lambda: peer.training_step(self.model(), *self.data()),
        )

    def inference_case(self) -> Case:
        return Case(
            "networks",
            f"inference, {self.title}",
            times(self.batch),
            self.inference,
            lambda: peer.inference(self.model().eval(), self.data()[0]),
        )


def times(shape: Iterable[int]) -> str:
    """8x3x128x128"""
    return "x".join(map(str, shape))


BATCHES = ((8, 3, 128, 128), (8, 3, 64, 64), (4, 3, 256, 256))


def unet_cases() -> list[Case]:
    """The U-Net at the sizes that README quotes."""
    cases = [case for batch in BATCHES for case in both(Network(batch=batch))]
    return [*cases, Network(batch=(1, 3, 512, 512)).inference_case()]


def other_cases() -> list[Case]:
    """Networks of other kinds: unpooling, dilated and depthwise kernels, attention."""
    return [case for name in TITLES if name != "unet" for case in both(Network(name, (4, 3, 128, 128)))]


def both(network: Network) -> list[Case]:
    return [network.training_case(), network.inference_case()]
