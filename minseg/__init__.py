"""minseg: image segmentation by convolutional networks, from scratch, to be learned from."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

# In a checkout kernels/ stands beside minseg/. An installed minseg has it inside; where Python runs from a checkout that is not
# installed, this lets it be found there, as minseg.kernels like everywhere.
if _find_spec("minseg.kernels") is None:
    __path__.append(str(_Path(__file__).resolve().parent.parent))

from minseg import ops
from minseg.autograd import Tensor, gradcheck, no_grad, tensor
from minseg.backend import available_backends, use_backend

__version__ = "0.1.0"
__all__ = ["Tensor", "available_backends", "gradcheck", "no_grad", "ops", "tensor", "use_backend"]
