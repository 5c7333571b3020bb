"""A clone of nanoGPT beside ours: its model as a module, and with the interface of our models."""

import importlib.util
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from config import die
from model import N


def import_nanogpt(clone):
    """nanoGPT's model.py as a module; dies if the folder is no clone of it."""
    path = Path(clone) / "model.py"
    if not path.is_file():
        die(f"{clone} is no clone of nanoGPT: git clone https://github.com/karpathy/nanoGPT")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def commit_of(clone):
    """The clone's commit, seven digits; git would answer for a repository around a folder that is
    none.
    """
    if not (Path(clone) / ".git").exists():
        return "of unknown commit"
    command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()[:7]


def new_model(module, size):
    """A nanoGPT for our five tokens, without biases and dropout. size: block_size, n_layer, n_head,
    n_embd.
    """
    config = module.GPTConfig(vocab_size=N + 1, bias=False, dropout=0.0, **size)
    with redirect_stdout(None):  # it counts its parameters aloud
        return module.GPT(config)


class Scored(nn.Module):
    """A checkpoint of nanoGPT's train.py with the interface of our models.

    It knows no start symbol: the first base of a window gets equal probabilities.
    """

    def __init__(self, module, path, device):
        super().__init__()
        held = torch.load(path, map_location="cpu", weights_only=True)
        with redirect_stdout(None):
            self.inner = module.GPT(module.GPTConfig(**held["model_args"]))
        weights = {k.removeprefix("_orig_mod."): v for k, v in held["model"].items()}
        self.inner.load_state_dict(weights)
        self.to(device).eval()

    def forward(self, idx):
        """(B, T) tokens, the first the start symbol -> (B, T, 4) logits."""
        seen = idx[:, 1:].contiguous()
        logits = self.inner(seen, seen)[0][..., :N].float()  # with targets it gives all positions
        return F.pad(logits, (0, 0, 1, 0))
