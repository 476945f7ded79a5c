"""The PyTorch networks that benchmarks compare with compute what ours do, forward and in a training step."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor

pytestmark = pytest.mark.peer
torch = pytest.importorskip("torch")

SIZES = {
    "unet": (2, 3, 24, 40),
    "segnet": (2, 3, 32, 48),
    "deeplab": (2, 3, 40, 64),
    "attention_decoder": (2, 3, 24, 80),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_twin_gives_the_same_logits_and_the_same_gradients(name):
    from minseg.testing.torch_peer import twin

    rng = np.random.default_rng(0)
    x = rng.standard_normal(SIZES[name], dtype=np.float32)
    labels = rng.integers(0, 4, (len(x), *x.shape[2:]))
    ours = models.build(name, 3, 4)
    theirs = twin(ours)
    assert list(ours.state_dict()) == list(theirs.state_dict())

    loss, expected_loss = ops.cross_entropy(ours(tensor(x)), labels), None
    loss.backward()
    expected_loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
    expected_loss.backward()
    assert abs(loss.item() - expected_loss.item()) < 1e-4
    gradients = dict(theirs.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in gradients.values())
    for key, parameter in ours.named_parameters():
        assert np.abs(parameter.grad - gradients[key].grad.numpy()).max() < 1e-3 * largest, key

    with no_grad(), torch.no_grad():  # with the running statistics that both have gathered
        logits, expected = ours.eval()(tensor(x)).data, theirs.eval()(torch.from_numpy(x)).numpy()
    assert np.abs(logits - expected).max() < 1e-4 * max(1, np.abs(expected).max())
