"""What ``minseg bench`` measures: operations and a training step, beside this machine's ceilings and beside PyTorch.

Machines drift and neighbours interfere, so contenders take turns inside one run, and a ratio is the median of the rounds' ratios.
"""

import contextlib
import ctypes
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np

import minseg
from minseg import backend, models, nn, ops, optim
from minseg.autograd import Function
from minseg.errors import BackendError

Work = Callable[[], object]


@dataclass
class Row:
    """One line of the table. Times in milliseconds; ``ratio`` is the peer's time over ours (above 1: we are faster)."""

    name: str
    shape: str
    ms: float
    gflops: float | None = None
    gbytes: float | None = None
    share: float | None = None
    peer_ms: float | None = None
    ratio: float | None = None
    notes: dict = field(default_factory=dict)


@dataclass
class Ceilings:
    """What this machine reaches at best with this many threads: multiply-adds of a matrix product, and copying memory."""

    gflops: float
    gbytes: float


def interleave(contenders: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round; they take turns, after two rounds of warming up.

    Each waits until the threads of whoever ran before have fallen asleep (OpenMP's spin for some 20 ms after their work), and wakes
    its own by running once before it is timed.
    """
    times = {name: [] for name in contenders}
    for turn in range(rounds + 2):
        for name, work in contenders.items():
            time.sleep(0.05)
            work()
            start = time.perf_counter()
            work()
            if turn >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


@contextlib.contextmanager
def on_threads(count: int):
    """Numba on this many threads inside the block (PyTorch is set where it is used)."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large freed blocks instead of returning them: for ours and the peer's arrays alike.

    Without it every fresh array above 32 MB is mapped page by page, which hides the cost of the arithmetic behind the kernel's.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    return bool(libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def measure_ceilings(threads: int) -> Ceilings:
    """The best of several matrix products (n = 1024, float32) and of several copies of 64 MB on all threads."""
    n = 1024
    a = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    matmul = min(interleave({"matmul": lambda: a @ a}, 10)["matmul"])
    source = np.ones((threads, (64 << 20) // threads // 4), np.float32)
    target = np.empty_like(source)
    with ThreadPoolExecutor(threads) as pool:
        copy = min(interleave({"copy": lambda: list(pool.map(np.copyto, target, source))}, 10)["copy"])
    return Ceilings(2 * n**3 / matmul / 1e6, 2 * source.nbytes / copy / 1e6)


# -------------------------------------------------------------------------------------------------------- what is timed


@dataclass
class Case:
    """An operation: ours and, for the peer, the same in PyTorch. ``flops`` or ``bytes`` is the least work it must do."""

    name: str
    shape: str
    ours: Work
    peer: Callable[[], dict[str, Work]]
    flops: float | None = None
    bytes: float | None = None


class Source(Function):
    """An input whose gradient is computed and dropped, as torch.autograd.grad does: no leaf keeps a copy of it."""

    def forward(self, x):
        return x

    def backward(self, gy):
        return (None,)


def _forward_backward(function, *leaves):
    """A training use of one operation: forward, and backward for all inputs from a fixed cotangent."""
    cotangent = np.ones_like(function(*leaves).data)

    def work():
        function(*map(Source.apply, leaves)).backward(cotangent)

    return work


def _layouts() -> dict:
    """PyTorch's two ways to lay out a batch of images in memory, by name: each case is timed in both."""
    import torch

    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def _torch_forward_backward(function, *arrays) -> dict[str, Work]:
    """The same in PyTorch, in both of its memory layouts where an input is a batch of images."""
    import torch

    contenders = {}
    for name, layout in _layouts().items():
        tensors = [torch.from_numpy(a) for a in arrays]
        tensors = [
            t.contiguous(memory_format=layout if t.ndim == 4 else torch.contiguous_format).requires_grad_()
            for t in tensors
        ]
        cotangent = torch.ones_like(function(*tensors))

        def work(tensors=tensors, cotangent=cotangent):
            torch.autograd.grad(function(*tensors), tensors, cotangent)

        contenders[name] = work
    return contenders


def operation_cases() -> list[Case]:
    """The operations of a U-Net step at the shapes where it spends its time."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    def torch_functional():
        import torch.nn.functional as F

        return F

    cases = []

    def add(name, ours, peer, arrays, flops=None, bytes=None):
        tensors = [minseg.tensor(a, requires_grad=True) for a in arrays]
        shape = " ".join("x".join(map(str, a.shape)) for a in arrays[:2])
        cases.append(
            Case(
                name,
                shape,
                _forward_backward(ours, *tensors),
                lambda: _torch_forward_backward(peer, *arrays),
                flops,
                bytes,
            )
        )

    for C, O, H in ((3, 16, 128), (16, 16, 128), (32, 32, 64), (64, 64, 32), (128, 128, 16)):
        x, w = normal(8, C, H, H), normal(O, C, 3, 3)
        add(
            "conv2d 3x3",
            lambda x, w: ops.conv2d(x, w, padding=1),
            lambda x, w: torch_functional().conv2d(x, w, padding=1),
            (x, w),
            flops=3 * 2 * 8 * O * C * 9 * H * H,
        )
    x, w = normal(8, 16, 128, 128), normal(4, 16, 1, 1)
    add(
        "conv2d 1x1", ops.conv2d, lambda x, w: torch_functional().conv2d(x, w), (x, w), flops=3 * 2 * 8 * 64 * 128 * 128
    )
    x, w = normal(8, 32, 64, 64), normal(32, 16, 2, 2)
    add(
        "conv_transpose2d 2x2",
        lambda x, w: ops.conv_transpose2d(x, w, stride=2),
        lambda x, w: torch_functional().conv_transpose2d(x, w, stride=2),
        (x, w),
        flops=3 * 2 * 8 * 32 * 16 * 4 * 64 * 64,
    )
    x = normal(8, 16, 128, 128)
    # Least traffic, in arrays of x's size: what is read plus what is written, forward and backward.
    add("relu", ops.relu, lambda x: torch_functional().relu(x), (x,), bytes=5 * x.nbytes)
    add(
        "max_pool2d 2x2",
        lambda x: ops.max_pool2d(x, 2),
        lambda x: torch_functional().max_pool2d(x, 2),
        (x,),
        bytes=(1 + 0.5 + 0.5 + 1) * x.nbytes,
    )
    add(
        "softmax",
        lambda x: ops.softmax(x, 1),
        lambda x: torch_functional().softmax(x, 1),
        (x,),
        bytes=5 * x.nbytes,
    )
    layer = nn.BatchNorm2d(16)
    add(
        "batch_norm",
        layer,
        lambda x: torch_functional().batch_norm(x, None, None, training=True),
        (x,),
        bytes=7 * x.nbytes,
    )
    z, target = normal(8, 4, 128, 128), rng.integers(0, 4, (8, 128, 128))

    def torch_cross_entropy(z):
        import torch

        return torch_functional().cross_entropy(z, torch.from_numpy(target))

    add(
        "cross_entropy",
        lambda z: ops.cross_entropy(z, minseg.tensor(target)),
        torch_cross_entropy,
        (z,),
        bytes=3 * z.nbytes,
    )
    return cases


@dataclass
class Step:
    """A training step of a U-Net with Adam and cross-entropy on a fixed batch."""

    batch: tuple[int, int, int, int] = (8, 3, 128, 128)
    classes: int = 4
    widths: tuple[int, ...] = (16, 32, 64, 128)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        N, _, H, W = self.batch
        return rng.standard_normal(self.batch, dtype=np.float32), rng.integers(0, self.classes, (N, H, W))

    def ours(self) -> Work:
        model = models.UNet(self.batch[1], self.classes, widths=self.widths)
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        x, t = map(minseg.tensor, self.data())

        def step():
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def peer(self) -> dict[str, Work]:
        import torch

        from minseg.testing.torch_peer import UNet

        contenders = {}
        for name, layout in _layouts().items():
            model = UNet(self.batch[1], self.classes, self.widths).to(memory_format=layout)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            x, t = map(torch.from_numpy, self.data())
            x = x.contiguous(memory_format=layout)

            def step(model=model, optimizer=optimizer, x=x, t=t):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x), t)
                loss.backward()
                optimizer.step()
                return loss.item()

            contenders[name] = step
        return contenders

    def inference(self) -> Work:
        model = models.UNet(self.batch[1], self.classes, widths=self.widths).eval()
        x = minseg.tensor(self.data()[0])

        def run():
            with minseg.no_grad():
                return model(x)

        return run

    def peer_inference(self) -> dict[str, Work]:
        import torch

        from minseg.testing.torch_peer import UNet

        contenders = {}
        for name, layout in _layouts().items():
            model = UNet(self.batch[1], self.classes, self.widths).to(memory_format=layout).eval()
            x = torch.from_numpy(self.data()[0]).contiguous(memory_format=layout)

            def run(model=model, x=x):
                with torch.inference_mode():
                    return model(x)

            contenders[name] = run
        return contenders


def step_cases() -> list[Case]:
    cases = []
    for batch in ((8, 3, 128, 128), (8, 3, 64, 64)):
        step = Step(batch)
        shape = "x".join(map(str, batch))
        cases.append(Case("training step, UNet(3, 4)", shape, step.ours(), step.peer))
        cases.append(Case("inference, UNet(3, 4)", shape, step.inference(), step.peer_inference))
    return cases


def measure(case: Case, ceilings: Ceilings, peer: bool, rounds: int) -> Row:
    """Time one case, in turn with the peer's layouts; the better of those is the peer."""
    contenders = {"ours": case.ours, **(case.peer() if peer else {})}
    times = interleave(contenders, rounds)
    ours = np.array(times.pop("ours"))
    row = Row(case.name, case.shape, float(np.median(ours)))
    if case.flops:
        row.gflops = case.flops / row.ms / 1e6
        row.share = row.gflops / ceilings.gflops
    if case.bytes:
        row.gbytes = case.bytes / row.ms / 1e6
        row.share = row.gbytes / ceilings.gbytes
    if times:
        layout = min(times, key=lambda name: np.median(times[name]))
        row.peer_ms = float(np.median(times[layout]))
        row.ratio = float(np.median(np.array(times[layout]) / ours))
        row.notes["layout"] = layout
    return row


def run(*, peer: str | None = None, threads: int = 2, rounds: int = 15, only: str | None = None) -> dict:
    """Measure everything (or the cases whose name contains ``only``): the machine, its ceilings, and a list of rows."""
    if peer not in (None, "torch"):
        raise BackendError(f"unknown peer {peer!r}; known: torch")
    if peer:
        try:
            import torch
        except ImportError as error:
            raise BackendError(
                "PyTorch is not installed; the comparison needs the extra: pip install minseg[peers]"
            ) from error
        torch.set_num_threads(threads)
    keep_freed_memory()
    with on_threads(threads):
        ceilings = measure_ceilings(threads)
        time.sleep(0.5)  # lets the matrix product's thread pool fall asleep before anything else is timed
        cases = [case for case in step_cases() + operation_cases() if only is None or only in case.name]
        rows = [measure(case, ceilings, bool(peer), rounds) for case in cases]
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads,
            "python": platform.python_version(),
        },
        "backend": backend.current().name,
        "peer": f"torch {torch.__version__}" if peer else None,
        "ceilings": asdict(ceilings),
        "rows": [asdict(row) for row in rows],
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(report: dict) -> str:
    """The report as aligned text."""

    def text(value, form):
        return "" if value is None else format(value, form)

    lines = [
        f"{report['machine']['processor']}, {report['machine']['threads']} threads, backend {report['backend']}"
        + (f", peer {report['peer']}" if report["peer"] else ""),
        f"ceilings: matrix product {report['ceilings']['gflops']:.0f} GFLOP/s, copy {report['ceilings']['gbytes']:.1f} GB/s",
        "",
        f"{'work (forward and backward)':<28} {'shape':<32} {'ms':>8} {'GFLOP/s':>8} {'GB/s':>6} {'of ceiling':>10} "
        f"{'peer ms':>8} {'speed vs peer':>13}",
    ]
    for row in report["rows"]:
        lines.append(
            f"{row['name']:<28} {row['shape']:<32} {row['ms']:>8.2f} {text(row['gflops'], '.0f'):>8} "
            f"{text(row['gbytes'], '.1f'):>6} {text(row['share'], '.0%'):>10} {text(row['peer_ms'], '.2f'):>8} "
            f"{text(row['ratio'], '.2f'):>13}"
        )
    return "\n".join(lines)


def main(args) -> int:
    """``minseg bench``: print the table, or JSON."""
    report = run(peer=args.peer, threads=args.threads, rounds=args.rounds, only=args.only)
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0
