"""How training computes: device, number format, and the process settings that make it quick, chosen in one place.

Everything here is measured or checked on the machine at hand: half precision is the default only where a product in it
is clearly quicker, and oneDNN's single precision only where it is as exact as single precision should be. Source: ours.

>>> Engine(dtype="float32").torch_dtype
torch.float32
>>> Engine(dtype="half")
Traceback (most recent call last):
ValueError: dtype: unknown value 'half'; allowed: bfloat16, float32
"""

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from carryproof.models.config import DecoderConfig
from carryproof.theory.errors import bad, unknown

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
QUICKER = 1.3  # half precision must win a product by this factor to be chosen
EXACT_ENOUGH = 1e-5  # largest error of a product in single precision, as a share of the largest entry
_PROBE = (1024, 256, 512)  # rows, inner and columns of the products that are measured
_PROBES = 5
SMALL = 128  # the side of a matrix from which on oneDNN was measured to be as quick
STACKED_BELOW = 600_000_000  # products of a weight and a token in a step, above which stacking gains nothing on a core
STACKED_AT_MOST = 8
# From malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes.
_MALLOPT = ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 26))


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A device (``cpu``, ``cuda``, ``cuda:1``, ...) and the number format of products: ``float32`` or ``bfloat16``.

    Weights, their gradients and the optimizer's state are in single precision with either.
    """

    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        require_device(self.device)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The number format as PyTorch names it."""
        return DTYPES[self.dtype]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A context in which products are computed as this engine does; memory that is freed stays with the process."""
        keep_memory()
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(matmul_precision(self.device))
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@contextmanager
def small_products(side: int) -> Iterator[None]:
    """A context for products of matrices with a side of ``side``: below ``SMALL`` oneDNN is left out.

    It takes longer to begin a product in single precision, and much longer one of a new shape, than the processor's
    own library takes to compute a small one.
    """
    before = torch.get_float32_matmul_precision()
    if side < SMALL:
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def require_device(device: str) -> None:
    """A one-line error unless the device is there."""
    present = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device not in present and not (device == "cuda" and len(present) > 1):
        raise bad("device", device, f"one that is here: {', '.join(present)}")


@cache
def matmul_precision(device: str = "cpu") -> str:
    """PyTorch's name for the way single precision multiplies here: ``medium`` (oneDNN) if that is exact, else
    ``highest``.

    Some processors round the factors to half precision under ``medium``, as GPUs do to TF32; the error of a product
    tells.
    """
    generator = torch.Generator().manual_seed(0)
    rows, inner, columns = _PROBE
    left, right = torch.rand(rows, inner, generator=generator), torch.rand(inner, columns, generator=generator)
    truth = left.double() @ right.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        error = float(((left.to(device) @ right.to(device)).cpu().double() - truth).abs().max() / truth.max())
    finally:
        torch.set_float32_matmul_precision(before)
    return "medium" if error <= EXACT_ENOUGH else "highest"


@cache
def fastest_dtype(device: str = "cpu") -> str:
    """``bfloat16`` where a product in it takes clearly less time than in single precision, else ``float32``."""
    require_device(device)
    rows, inner, columns = _PROBE
    with Engine(device=device).at_work():
        pairs = {
            name: (
                torch.ones(rows, inner, device=device, dtype=dtype),
                torch.ones(inner, columns, device=device, dtype=dtype),
            )
            for name, dtype in DTYPES.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in pairs}
        for _ in range(_PROBES):
            for name, (left, right) in pairs.items():
                began = time.perf_counter()
                (left @ right)[0, 0].item()
                seconds[name].append(time.perf_counter() - began)
    gain = min(seconds["float32"]) / min(seconds["bfloat16"])
    return "bfloat16" if gain >= QUICKER else "float32"


def keep_memory() -> None:
    """Keep freed memory in this process, where the C library is glibc; elsewhere do nothing.

    By default the allocator returns every large block at once, and a training step spends a tenth of its time and more
    on the faults that come with fresh pages.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            for option, value in _MALLOPT:
                library.mallopt(option, value)


def stack_size(config: DecoderConfig, *, tokens: int, models: int, engine: Engine) -> int:
    """How many of ``models`` equal models are trained together: all on a GPU; on a CPU all of them, up to
    ``STACKED_AT_MOST``, where a step of one on ``tokens`` tokens is too small to keep a core busy.

    The bound was measured; ``carryproof bench`` measures both sides of it again.
    """
    if engine.device != "cpu":
        return models
    return min(models, STACKED_AT_MOST) if tokens * weight_count(config) <= STACKED_BELOW else 1


def weight_count(config: DecoderConfig) -> int:
    """How many entries the matrices of a decoder have."""
    width, inner = config.d_model, config.n_heads * config.head_size
    return config.n_layers * (4 * width * inner + 2 * width * config.mlp_size) + 2 * config.d_vocab * width


def available_bytes(device: str) -> int | None:
    """Memory that can be had on a device; None where it cannot be told."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def step_bytes(config: DecoderConfig, *, models: int, batch: int, length: int, dtype: str) -> int:
    """About what a training step holds at once, in bytes: weights with gradients and the optimizer's state in single
    precision, and what the layers keep for the way back.
    """
    width, inner, wide = config.d_model, config.n_heads * config.head_size, config.mlp_size
    kept = length * (6 * width + 5 * inner + 3 * wide) + length * length * config.n_heads * 4
    size = DTYPES[dtype].itemsize
    return models * (weight_count(config) * (16 + size) + batch * config.n_layers * kept * size)


def require_room(config: DecoderConfig, engine: Engine, *, models: int, batch: int, length: int) -> None:
    """A one-line error, before anything is allocated, if a step would not fit into memory."""
    needed = step_bytes(config, models=models, batch=batch, length=length, dtype=engine.dtype)
    room = available_bytes(engine.device)
    if room is not None and needed > room:
        largest = int(batch * room / needed)
        raise bad(
            "batch", batch, f"at most about {largest} here: a step needs {needed / 1e9:.1f} GB of {room / 1e9:.1f}"
        )
