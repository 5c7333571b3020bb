"""The checkpoint file: tensors and plain values, written whole or not at all."""

import os
import zipfile
from contextlib import suppress
from pathlib import Path

import torch

from config import die
from model import GPT, GPTConfig

KEYS = {"model", "model_args", "config", "data", "step"}  # what every checkpoint of train.py holds


def save_checkpoint(path, checkpoint):
    """Write the file beside its place, then move it there.

    So a reader sees the old file or the new one, never a part. Dies if the disk is full.
    """
    temporary = Path(f"{path}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(Path(path).parent)
    except (OSError, RuntimeError) as error:  # torch.save has its own error for a full disk
        temporary.unlink(missing_ok=True)
        reason = str(error).splitlines()[0][:80]
        die(
            f"cannot write {path} ({reason}): is the disk full? What was saved before is intact, "
            "the same command goes on from it"
        )


def sync_folder(folder):
    """Have the move itself outlive a power cut, where the system lets us ask for that."""
    with suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


def read_checkpoint(path):
    """The dict that train.py saved, on the CPU; dies if the file is none.

    It is loaded as weights only, so that no file can run code.
    """
    if Path(path).is_dir():
        die(f"{path} is a folder: name the file of a checkpoint, such as {Path(path) / 'ckpt.pt'}")
    if not Path(path).is_file():
        die(f"no checkpoint {path}: train one first (python train.py ...), or name the file of one")
    try:
        if zipfile.ZipFile(path).testzip():  # torch.load does not look at the checksums
            raise ValueError("a wrong checksum")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = KEYS - set(checkpoint)
    except Exception as error:  # torch.load has no one error for a bad file
        die(
            f"{path} is not a checkpoint of this project, or is damaged ({type(error).__name__}): "
            "name another; if it is a run's own ckpt.pt, move it away, and train.py goes on from "
            "best.pt"
        )
    if missing:
        die(f"{path} is a checkpoint of something else: it has no {', '.join(sorted(missing))}")
    return checkpoint


def load_model(path, device="cpu"):
    """(GPT in eval mode on device, the checkpoint's other entries) from a file of train.py's.

    The optimisers are left out. Dies if the file holds another kind of model.
    """
    checkpoint = read_checkpoint(path)
    checkpoint.pop("optimizers", None)
    try:
        model = GPT(GPTConfig(**checkpoint["model_args"]))
        model.load_state_dict(checkpoint.pop("model"))
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[:2][-1].strip()
        die(f"{path} holds another model than this version of model.py builds: {reason}")
    return model.to(device).eval(), checkpoint
