"""What train.py, sample.py and eval_dart.py share: the choice of device and number format, the checkpoint file and the log."""
import csv
import math
import os
import re
import shutil
import signal
import sys
import sysconfig
import zipfile
from contextlib import nullcontext, suppress
from pathlib import Path

import torch

from config import die
from model import GPT, GPTConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "RTX 4090": 165.2, "L4": 121, "RTX 3090": 71, "T4": 65}  # data sheets: dense, 16-bit


def pick_device(device="auto", dtype="auto"):
    """(torch.device, torch.dtype, autocast context) for the settings `device` and `dtype`, "auto" meaning what is best here.

    bfloat16 where the hardware multiplies it: GPUs of compute capability 8.0 and up (a T4 only emulates it, so it gets
    float16), CPUs with AMX or AVX512-BF16; float32 elsewhere.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = device
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        die(f"no device {name!r} here ({str(error).splitlines()[0][:80]}): try --device=cpu")
    if dtype == "auto":
        if device.type == "cuda":
            dtype = "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
        else:
            flags = Path("/proc/cpuinfo")  # AMX comes with this flag too; oneDNN may be told to do without
            allowed = re.search("ALL|DEFAULT|BF16|AMX", os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL"))
            fast = device.type == "cpu" and allowed and flags.is_file() and "avx512_bf16" in flags.read_text()
            dtype = "bfloat16" if fast else "float32"
    if dtype not in DTYPES:
        die(f"dtype {dtype!r}: choose one of auto, {', '.join(DTYPES)}")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    dtype = DTYPES[dtype]
    return device, dtype, nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def save_checkpoint(path, checkpoint):
    """Write the whole file beside its place, then move it there: a reader sees the old one or the new one, never a part."""
    temporary = Path(f"{path}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        with suppress(OSError, AttributeError):  # the move itself must outlive a power cut too, where the system lets us ask for it
            folder = os.open(Path(path).parent, os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
    except (OSError, RuntimeError) as error:  # torch.save has its own error for a full disk
        temporary.unlink(missing_ok=True)
        die(f"cannot write {path} ({str(error).splitlines()[0][:80]}): is the disk full? What was saved before is intact, the same command goes on from it")


def read_checkpoint(path):
    """The dict that train.py saved; tensors and plain values only, so no file can run code. Dies if it is not one."""
    if Path(path).is_dir():
        die(f"{path} is a folder: name the file of a checkpoint, such as {Path(path) / 'ckpt.pt'}")
    if not Path(path).is_file():
        die(f"no checkpoint {path}: train one first (python train.py ...), or name the file of one, such as out/ckpt.pt")
    try:
        if zipfile.ZipFile(path).testzip():  # torch.load does not look at the checksums
            raise ValueError("a wrong checksum")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"model", "model_args", "config", "data", "step"} - set(checkpoint)
    except Exception as error:  # torch.load has no one error for a bad file
        die(f"{path} is not a checkpoint of this project, or is damaged ({type(error).__name__}): where it is a run's ckpt.pt, move it away, and train.py goes on from best.pt")
    if missing:
        die(f"{path} is a checkpoint of something else: it has no {', '.join(sorted(missing))}")
    return checkpoint


def load_model(path, device="cpu"):
    """(GPT in eval mode on device, checkpoint without the optimiser) from a file of train.py's."""
    checkpoint = read_checkpoint(path)
    checkpoint.pop("optimizers", None)
    try:
        model = GPT(GPTConfig(**checkpoint["model_args"]))
        model.load_state_dict(checkpoint.pop("model"))
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        die(f"{path} holds another model than this version of model.py builds: {str(error).splitlines()[:2][-1].strip()}")
    return model.to(device).eval(), checkpoint


def has_compiler(device):
    """Whether torch.compile can work here: it needs Python.h and a C++ compiler on a CPU, a C compiler for Triton on a GPU; not on a Mac's yet."""
    names = (os.environ.get("CXX"), "g++", "c++", "clang++") if device.type == "cpu" else (os.environ.get("CC"), "gcc", "cc", "clang")
    return device.type != "mps" and Path(sysconfig.get_path("include"), "Python.h").is_file() and any(shutil.which(name) for name in names if name)


def machine_peak(device):
    """(name of the GPU or type of device, its 16-bit flops per second by the data sheet, nan where that is not known)."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name, next((tera * 1e12 for card, tera in PEAK_TFLOPS.items() if re.search(rf"\b{card}\b", name)), math.nan)


def peak_memory(device):
    """The most bytes held so far: of tensors on a GPU, of the whole process elsewhere; nan where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


COLUMNS = "step tokens loss bits lr grad_norm tokens_per_second mfu seconds spikes val_bits_all val_bits_repeats val_bits_unique".split()


def open_log(path, start, evaluated):
    """A function that adds a row, a dict, to log.csv; the rows that a run resumed at step `start` will write again are dropped first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    if start and path.exists():
        with open(path, newline="") as file:
            kept = [row for row in csv.DictReader(file) if (row["step"] or "x").isdigit() and int(row["step"]) <= (evaluated if row["val_bits_all"] else start)]
    temporary = Path(f"{path}.tmp")
    file = open(temporary, "w", newline="")
    writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    file.flush()
    os.replace(temporary, path)  # the open file moves with it

    def log(row):
        writer.writerow({k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()})
        file.flush()
    return log


def stop_on_signals(on=True):
    """A list that SIGTERM and Ctrl-C put their number in, instead of ending the process; a second Ctrl-C ends it. on = False: as it was."""
    asked, usual = [], {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}

    def note(number, frame):
        asked.append(number)
        if number == signal.SIGINT:  # SIGTERM may well come twice: from a scheduler and from torchrun
            signal.signal(number, usual[number])
    for number in usual:
        signal.signal(number, note if on else usual[number])
    return asked


def lock(folder):
    """Make the folder and hold it until this process ends, however it ends; dies if another run does. The caller keeps what it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / "lock", "w")
    try:
        import fcntl  # not on Windows
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        die(f"another run is writing to {folder}: wait for it, stop it, or give --out_dir another folder")
    except (ImportError, OSError):
        pass  # a file system without locks
    return file
