"""The gradient check is itself checked: wrong gradients are planted into every Function, and each must be found."""

import pytest

import minseg
from minseg.errors import GradcheckError
from minseg.testing import gradients


def negated(g):
    return -g


def one_percent_too_large(g):
    return g * g.dtype.type(1.01)


def in_wrong_order(g):
    """As if two axes, or two indices, had been exchanged."""
    return g.ravel()[::-1].reshape(g.shape)


def one_element_zero(g):
    g = g.copy()
    g.ravel()[abs(g).argmax()] = 0
    return g


def omitted(g):
    return None


PLANTS = (negated, one_percent_too_large, in_wrong_order, one_element_zero, omitted)

with minseg.use_backend("numpy"):
    CASES = [(case, case.functions()) for case in gradients.cases()]
CASES.sort(key=lambda found: sum(x.size for x in found[0].inputs.values()))
CHECKED = sorted({place for _, places in CASES for place in places}, key=lambda place: (place[0].__name__, place[1]))


class Planted:
    """A backward with an error in the gradient of one input; it remembers whether the error ever changed anything."""

    def __init__(self, cls, position, plant):
        self.right, self.position, self.plant, self.changed = cls.backward, position, plant, False

    def method(self):
        def backward(node, gy):
            gradients = list(self.right(node, gy))
            g = gradients[self.position]
            if g is not None:
                gradients[self.position] = wrong = self.plant(g)
                self.changed |= wrong is None or bool((wrong != g).any())
            return tuple(gradients)

        return backward


@pytest.mark.parametrize(("cls", "position"), CHECKED, ids=[f"{cls.__name__}-{k}" for cls, k in CHECKED])
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_error_is_found(cls, position, plant, monkeypatch):
    """The smallest case in which the error changes a gradient fails; a case in which it changes nothing says nothing."""
    planted = Planted(cls, position, plant)
    monkeypatch.setattr(cls, "backward", planted.method())
    with minseg.use_backend("numpy"):
        for case in (case for case, places in CASES if (cls, position) in places):
            if _fails(case):
                return
            assert not planted.changed, f"the {plant.__name__} gradient of {cls.__name__} passed in {case}"
    pytest.fail(f"no case ever ran with the {plant.__name__} gradient of {cls.__name__}")


def _fails(case) -> bool:
    try:
        case.check()
    except GradcheckError:
        return True
    return False


def test_every_gradient_of_every_function_is_planted():
    assert {cls for cls, _ in CHECKED} == gradients.function_classes()
    inputs = {
        "Conv2d": 3,
        "ConvTranspose2d": 3,
        "Linear": 3,
        "BatchNormTraining": 3,
        "BatchNormEval": 3,
        "BatchNormReLUTraining": 3,
        "BatchNormReLUEval": 3,
        "MSELoss": 2,
        "Mul": 2,
    }
    assert {name: sum(cls.__name__ == name for cls, _ in CHECKED) for name in inputs} == inputs
