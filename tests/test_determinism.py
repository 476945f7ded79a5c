"""Whole trainings: the same bits on any number of threads, and the fast kernels' losses are those of the reference."""

from pathlib import Path

import numpy as np

import minseg
from minseg import models, no_grad, optim, use_backend
from minseg.cli import main
from minseg.data import Compose, Loader, RandomCrop, RandomFlip, open_data
from minseg.kernels.cpu import conv
from minseg.ops import cross_entropy
from minseg.weights import load_weights


def test_a_training_has_the_same_bits_on_one_thread_and_on_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for threads in ("1", "2", "2"):
        command = ["train", "--backend", "numba", "--threads", threads, "--steps", "6", "--validate-every", "3"]
        assert main([*command, "--batch-size", "4", "--out", f"run-{len(list(tmp_path.iterdir()))}"]) == 0
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, two, again = (load_weights(Path(f"run-{i}", name)) for i in range(3))
        for key in one:
            assert one[key].tobytes() == two[key].tobytes() == again[key].tobytes(), key


def test_the_fast_losses_are_those_of_the_reference():
    """At each of 50 steps, with the weights of that step.

    Two trainings that each go their own way part sooner or later, however well their kernels agree: Adam divides a gradient by its
    own size, and what is nearly a tie between maxima falls to either side. Moving the first weights by one rounding does as much.
    """
    data = open_data("nuclei")
    batches = Loader(data.train, data.preprocess, Compose([RandomCrop(32), RandomFlip()]), 8, seed=0)
    model = models.build("unet", 1, 2, seed=0, widths=(8, 16, 32))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    assert (
        conv.choose(np.float32, 8, 8, 16, (16, 16), (3, 3), (1, 1), (1, 1)) == "winograd_f4"
    )  # as in its second level
    fast, reference = [], []
    for images, labels in batches.stream(0, 50):
        with use_backend("numpy"), no_grad():
            reference.append(cross_entropy(model(minseg.tensor(images)), labels).item())
        with use_backend("numba"):
            optimizer.zero_grad()
            loss = cross_entropy(model(minseg.tensor(images)), labels)
            loss.backward()
            optimizer.step()
            fast.append(loss.item())
    assert fast[-1] < 0.5 * fast[0]
    np.testing.assert_allclose(fast, reference, rtol=1e-5)  # measured: below 1e-6
