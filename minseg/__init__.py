"""minseg: image segmentation by convolutional networks, from scratch, to be learned from."""

import sys as _sys
from importlib.util import find_spec as _find_spec
from importlib.util import module_from_spec as _module_from_spec
from importlib.util import spec_from_file_location as _spec_from_file_location
from pathlib import Path as _Path

# In a checkout kernels/ stands beside minseg/. An installed minseg has it inside; where Python runs from a checkout that is not
# installed, it is loaded from there, as minseg.kernels like everywhere.
if _find_spec("minseg.kernels") is None:
    _folder = _Path(__file__).resolve().parent.parent / "kernels"
    if not (_folder / "__init__.py").exists():
        raise ImportError(f"minseg.kernels is neither installed nor at {_folder}; install minseg again: pip install .")
    _spec = _spec_from_file_location(
        "minseg.kernels", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    kernels = _sys.modules["minseg.kernels"] = _module_from_spec(_spec)
    _spec.loader.exec_module(kernels)

from minseg import ops
from minseg.autograd import Tensor, gradcheck, no_grad, tensor
from minseg.backend import available_backends, use_backend
from minseg.kernels.precision import precise

__version__ = "0.1.0"
__all__ = ["Tensor", "available_backends", "gradcheck", "no_grad", "ops", "precise", "tensor", "use_backend"]
