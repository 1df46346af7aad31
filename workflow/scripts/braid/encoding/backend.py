"""Where the solver's arrays live: NumPy, or torch on the CPU or a GPU.

The forms, the sweep and the smoothers are written once, in what NumPy arrays and torch tensors
have in common (`@`, arithmetic, slices, `.T`, `.sum(axis=0)`, `.reshape`). The rest is here.
Eigenvalues, means and scores, which are small, stay NumPy arrays in float64 everywhere.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import scipy.linalg

from braid.common import BraidError, InputError

Array: TypeAlias = Any  # numpy.ndarray, or torch.Tensor on the backend's device
Item = TypeVar("Item")
Result = TypeVar("Result")

DEVICES = ("cpu", "cuda", "auto")
_SUM_ROWS = 64  # rows summed in float32 before their sum is added in float64

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend(ABC):
    """What the solver needs of an array library.

    Attributes
    ----------
    device : str
        "cpu", or "cuda".
    fast_math : bool
        Whether `fast_matmul` may round its operands below float32.
    """

    device: str = "cpu"
    fast_math: bool = False

    name = ""
    strip = 64  # rows of a triangular matrix that are multiplied at a time

    @abstractmethod
    def asarray(self, values: Any, dtype: Any) -> Array:
        """Put values on the device, contiguous, in a NumPy dtype."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray:
        """Bring an array to the host."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array without values."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros."""

    @abstractmethod
    def concatenate(self, parts: Sequence[Array]) -> Array:
        """Put arrays one below the other."""

    @abstractmethod
    def column_dot(self, a: Array, b: Array) -> Array:
        """Sum of a * b over rows, accumulated in float64, on the device."""

    @abstractmethod
    def column_sum(self, a: Array) -> Array:
        """Sum over rows, accumulated in float64, on the device."""

    @abstractmethod
    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Eigenvalues (ascending) and vectors of a symmetric float64 matrix; `a` is lost."""

    @abstractmethod
    def svd(self, a: Array) -> tuple[Array, Array, Array]:
        """Thin singular value decomposition in float64."""

    @abstractmethod
    def qr_upper(self, a: Array) -> Array:
        """Upper triangular (or trapezoidal) factor R of a = QR."""

    @abstractmethod
    def cholesky_upper(self, a: Array) -> Array | None:
        """Upper factor R of a = R'R; None where `a` is not positive definite."""

    @abstractmethod
    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that memory ran out."""

    @abstractmethod
    def free(self) -> None:
        """Give cached memory back."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done its work."""

    def fast_matmul(self, a: Array, b: Array) -> Array:
        """Product whose operands may be rounded, with `fast_math`."""
        return a @ b

    def cast(self, array: Array, dtype: Any) -> Array:
        """Convert to a NumPy dtype, without a copy where it is that already."""
        return self.asarray(array, dtype)

    def workers(self) -> int:
        """Tiles of targets that are worked on at a time."""
        return 1

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do independent pieces of work that only read what they share."""
        return [work(item) for item in items]

    def whole(self, work: Callable[[Item], Result], item: Item) -> list[Result]:
        """Do one piece of work with all that the library uses."""
        return [work(item)]


@dataclass(frozen=True)
class NumpyBackend(Backend):
    """NumPy on the CPU."""

    name = "numpy"

    def asarray(self, values: Any, dtype: Any) -> Array:
        """Give a contiguous array, without a copy where it is one already."""
        return np.asarray(values, dtype=dtype, order="C")

    def cast(self, array: Array, dtype: Any) -> Array:
        """Convert to a NumPy dtype, whatever the order in memory."""
        return np.asarray(array, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        """Give the array itself."""
        return array

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array without values."""
        return np.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros."""
        return np.zeros(shape, dtype=dtype)

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """Put arrays one below the other."""
        return np.concatenate(parts)

    def column_dot(self, a: Array, b: Array) -> Array:
        """Sum of a * b over rows, accumulated in float64 over blocks of rows."""
        if a.dtype == np.float64:
            return np.einsum("it,it->t", a, b)
        total = np.zeros(a.shape[1])
        for start in range(0, len(a), _SUM_ROWS):
            rows = slice(start, start + _SUM_ROWS)
            total += np.einsum("it,it->t", a[rows], b[rows])
        return total

    def column_sum(self, a: Array) -> Array:
        """Sum over rows, accumulated in float64 over blocks of rows."""
        total = np.zeros(a.shape[1])
        for start in range(0, len(a), _SUM_ROWS):
            total += a[start : start + _SUM_ROWS].sum(axis=0)
        return total

    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Divide and conquer of LAPACK, in place."""
        # the transpose of a symmetric matrix in C order is in the order that LAPACK overwrites
        return scipy.linalg.eigh(a.T, overwrite_a=True, check_finite=False, driver="evd")

    def svd(self, a: Array) -> tuple[Array, Array, Array]:
        """Thin singular value decomposition."""
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False)

    def qr_upper(self, a: Array) -> Array:
        """Upper factor of a QR decomposition."""
        return np.linalg.qr(a, mode="r")

    def cholesky_upper(self, a: Array) -> Array | None:
        """Upper Cholesky factor, or None."""
        try:
            return scipy.linalg.cholesky(a, lower=False, check_finite=False)
        except np.linalg.LinAlgError:
            return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an allocation failed."""
        return isinstance(error, MemoryError)

    def free(self) -> None:
        """NumPy holds no cache."""

    def synchronize(self) -> None:
        """NumPy has done its work when it returns."""

    def workers(self) -> int:
        """Threads that BLAS would use; tiles use them instead."""
        return _blas_threads()

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do pieces in threads, each with a BLAS of one thread.

        What a piece gives does not depend on the number of threads.
        """
        with _one_blas_thread() as threads:
            if threads == 1 or len(items) == 1:
                return [work(item) for item in items]
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(work, items))


@dataclass(frozen=True)
class TorchBackend(Backend):
    """torch, on the CPU or on one CUDA device."""

    name = "torch"
    strip = 512

    def asarray(self, values: Any, dtype: Any) -> Array:
        """Put values on the device."""
        torch = _torch()
        if not isinstance(values, torch.Tensor):
            # a copy where NumPy's memory is read-only, which torch does not know
            values = np.asarray(values)
            values = torch.from_numpy(np.require(values, requirements=["C", "W"]))
        return values.to(device=self.device, dtype=_torch_dtype(dtype)).contiguous()

    def cast(self, array: Array, dtype: Any) -> Array:
        """Convert to a NumPy dtype."""
        return array.to(_torch_dtype(dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        """Copy to the host."""
        return array.detach().cpu().numpy()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make a tensor without values."""
        return _torch().empty(shape, dtype=_torch_dtype(dtype), device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make a tensor of zeros."""
        return _torch().zeros(shape, dtype=_torch_dtype(dtype), device=self.device)

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """Put tensors one below the other."""
        return _torch().cat(list(parts))

    def column_dot(self, a: Array, b: Array) -> Array:
        """Sum of a * b over rows, accumulated in float64 over blocks of rows."""
        torch = _torch()
        total = torch.zeros(a.shape[1], dtype=torch.float64, device=self.device)
        for start in range(0, len(a), self.strip):
            rows = slice(start, start + self.strip)
            total += (a[rows] * b[rows]).sum(dim=0, dtype=torch.float64)
        return total

    def column_sum(self, a: Array) -> Array:
        """Sum over rows in float64."""
        return a.sum(dim=0, dtype=_torch().float64)

    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Decompose on the device; on the CPU, and said so, where its library gives up."""
        torch = _torch()
        try:
            return torch.linalg.eigh(a)
        except torch.linalg.LinAlgError as error:
            if self.device == "cpu":
                raise
            _log.warning("ridge: eigh failed on %s and ran on the CPU (%s)", self.device, error)
            values, vectors = torch.linalg.eigh(a.cpu())
            return values.to(self.device), vectors.to(self.device)

    def svd(self, a: Array) -> tuple[Array, Array, Array]:
        """Thin singular value decomposition."""
        return _torch().linalg.svd(a, full_matrices=False)

    def qr_upper(self, a: Array) -> Array:
        """Upper factor of a QR decomposition."""
        return _torch().linalg.qr(a, mode="r")[1]

    def cholesky_upper(self, a: Array) -> Array | None:
        """Upper Cholesky factor, or None."""
        factor, failed = _torch().linalg.cholesky_ex(a, upper=True)
        return None if int(failed) else factor

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an allocation failed on the device or on the host."""
        torch = _torch()
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        # the host's allocator and cuBLAS raise plain RuntimeErrors
        words = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
        text = str(error).lower()
        return isinstance(error, RuntimeError) and any(word in text for word in words)

    def free(self) -> None:
        """Give torch's cached blocks back to the device."""
        if self.device != "cpu":
            _torch().cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait until the device has done its work."""
        if self.device != "cpu":
            _torch().cuda.synchronize()

    def fast_matmul(self, a: Array, b: Array) -> Array:
        """Product in TF32 with `fast_math` on CUDA; else as any other."""
        if not self.fast_math:
            return a @ b
        torch = _torch()
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return a @ b
        finally:
            torch.set_float32_matmul_precision(before)

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do pieces one after the other, in full float32 but for `fast_matmul`."""
        torch = _torch()
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            return [work(item) for item in items]
        finally:
            torch.set_float32_matmul_precision(before)

    def whole(self, work: Callable[[Item], Result], item: Item) -> list[Result]:
        """Do one piece, in full float32 but for `fast_matmul`."""
        return self.each(work, [item])


NUMPY = NumpyBackend()


def backend_for(
    device: str = "cpu", library: str | None = None, fast_math: bool = False
) -> Backend:
    """Give the backend of a device.

    Parameters
    ----------
    device : {"cpu", "auto", "cuda"}
        `cpu` is NumPy, `cuda` torch; `auto` is `cuda` where there is one.
    library : {"numpy", "torch"}, optional
        Instead of the device's own; for tests of the torch backend without a GPU.
    fast_math : bool
        Sweep over penalties in TF32; what it chooses is checked in float32.

    Raises
    ------
    BraidError
        For `cuda` without a CUDA device; never a silent fallback.
    InputError
        For a name that is no device, or `fast_math` on NumPy.
    """
    if device not in DEVICES:
        raise InputError(f"device: '{device}' is not one of {', '.join(DEVICES)}")
    if device == "auto":
        device = "cuda" if _has_cuda() else "cpu"
    elif device == "cuda" and not _has_cuda():
        raise BraidError("device: cuda was asked for, but there is no CUDA device here; use auto")
    library = library or ("numpy" if device == "cpu" else "torch")
    if library == "numpy" and device == "cuda":
        raise InputError("backend: numpy does not run on device cuda; use torch")
    if library == "torch":
        return TorchBackend(device, fast_math)
    if fast_math:
        raise InputError("ridge.fast_math: only device cuda has it; set it to false")
    return NUMPY


def free_device_mb(backend: Backend) -> float | None:
    """Memory that is free on a GPU, MB; None on the CPU, where a job has its own limit."""
    if backend.device == "cpu":
        return None
    return float(_torch().cuda.mem_get_info()[0]) / 2**20


def _torch() -> Any:
    """Import torch, which takes seconds, only where it is used."""
    import torch

    return torch


def _has_cuda() -> bool:
    """Whether torch is installed and sees a CUDA device."""
    try:
        return bool(_torch().cuda.is_available())
    except ImportError:
        return False


def _torch_dtype(dtype: Any) -> Any:
    """Give torch's name of a NumPy dtype."""
    return getattr(_torch(), np.dtype(dtype).name)


@lru_cache(maxsize=1)
def blas_pools() -> Any:
    """Thread pools of the BLAS libraries of NumPy and SciPy.

    Other packages bring their own (OpenCV an OpenBLAS of 2021), which compute nothing here: what
    is known of the libraries must not depend on what else a process has imported.
    """
    from threadpoolctl import ThreadpoolController

    packages = Path(np.__file__).parents[1]
    return ThreadpoolController().select(
        filepath=[
            library["filepath"]
            for library in ThreadpoolController().info()
            if library["user_api"] == "blas"
            and _is_of_numpy(Path(library["filepath"]).resolve(), packages.resolve())
        ]
    )


def _is_of_numpy(library: Path, packages: Path) -> bool:
    """Whether a library lies with NumPy or SciPy, or with no package at all (as conda's does)."""
    if not library.is_relative_to(packages):
        return True
    return library.relative_to(packages).parts[0].split(".")[0] in ("numpy", "scipy")


def _blas_threads() -> int:
    """Threads that BLAS uses at present."""
    return max((pool["num_threads"] for pool in blas_pools().info()), default=1)


@contextmanager
def _one_blas_thread() -> Iterator[int]:
    """Hold BLAS to one thread; give the number that it had."""
    threads = _blas_threads()
    if threads == 1:
        yield 1
        return
    with blas_pools().limit(limits=1):
        yield threads
