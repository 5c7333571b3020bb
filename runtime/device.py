"""Which device and number format to compute in, and what the machine can do."""

import importlib.util
import math
import os
import re
import shutil
import sys
import sysconfig
from contextlib import nullcontext
from pathlib import Path

import torch

from config import die

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# dense 16-bit Tflop/s by the makers' data sheets
PEAK_TFLOPS = {
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "RTX 4090": 165.2,
    "L4": 121,
    "RTX 3090": 71,
    "T4": 65,
}


def pick_device(device="auto", dtype="auto"):
    """(torch.device, torch.dtype, autocast context) for the settings `device` and `dtype`, "auto"
    being the best here.

    Dies if there is no such device or dtype.
    """
    if device == "auto":
        device = best_device()
    name = device
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:80]
        die(f"no device {name!r} here ({reason}): try --device=cpu")
    if dtype == "auto":
        dtype = best_dtype(device)
    if dtype not in DTYPES:
        die(f"dtype {dtype!r}: choose one of auto, {', '.join(DTYPES)}")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    precision = DTYPES[dtype]
    return device, precision, autocast_for(device, precision)


def best_device():
    """The name of the fastest kind of device here."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def best_dtype(device):
    """The name of the 16-bit format that is fast here, or float32.

    bfloat16 where the hardware multiplies it, float16 on older GPUs: a T4 only emulates bfloat16.
    """
    if device.type == "cuda":
        capable = torch.cuda.get_device_capability(device) >= (8, 0)
        return "bfloat16" if capable else "float16"
    if device.type == "cpu" and cpu_multiplies_bfloat16():
        return "bfloat16"
    return "float32"


def cpu_multiplies_bfloat16():
    """Whether this CPU has AVX512-BF16 or AMX, which comes with the same flag.

    False, too, where oneDNN was told to do without.
    """
    flags = Path("/proc/cpuinfo")
    allowed = re.search("ALL|DEFAULT|BF16|AMX", os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL"))
    return bool(allowed) and flags.is_file() and "avx512_bf16" in flags.read_text()


def autocast_for(device, precision):
    """The context in which a model computes in `precision`."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def has_compiler(device):
    """Whether torch.compile can work here; it does not yet on a Mac's GPU.

    It needs Python.h, and a C++ compiler (on a GPU a C compiler, Triton, which torch for Windows
    comes without, and compute capability 7.0).
    """
    if device.type == "mps":
        return False
    if device.type == "cuda":
        too_old = torch.cuda.get_device_capability(device) < (7, 0)
        if too_old or importlib.util.find_spec("triton") is None:
            return False
    if device.type == "cpu":
        names = [os.environ.get("CXX"), "g++", "c++", "clang++"]
    else:
        names = [os.environ.get("CC"), "gcc", "cc", "clang"]
    has_header = Path(sysconfig.get_path("include"), "Python.h").is_file()
    return has_header and any(shutil.which(name) for name in names if name)


def machine_peak(device):
    """(name of the GPU, or type of device; its 16-bit flops a second by the data sheet, or nan)."""
    if device.type != "cuda":
        return device.type, math.nan
    name = torch.cuda.get_device_name(device)
    for card, tera in PEAK_TFLOPS.items():
        if re.search(rf"\b{card}\b", name):
            return name, tera * 1e12
    return name, math.nan


def peak_memory(device):
    """The most bytes held so far: of tensors on a GPU, of the whole process elsewhere.

    nan where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
