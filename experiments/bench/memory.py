"""The memory of a training step on a GPU, counted on a CPU: what the forward pass keeps for the
backward pass, under bfloat16 autocast, by torch's saved-tensor hooks.

  python -m experiments.bench.memory config/hg38_small.py config/hg38_medium.py

Models of one and two blocks and of one and two windows are run; the rest is linear. To what is kept
come the weights in float32, their gradients and Muon's momentum (12 bytes a weight), their copies
in bfloat16 (2), with several cards one more copy of the gradients, to send them (4), and about 0.5
GB of CUDA context.
"""

import sys

import torch

import train
from config import configure
from data import N
from model import GPT, GPTConfig, base_nll

CARDS = (16, 24, 80, 141)  # GB
FREE = 1 / 30  # of a card
CONTEXT = 0.5  # GB
BYTES_A_WEIGHT = 14
TO_SEND = 4


def kept(n_layer, windows, compiled):
    """Bytes of the tensors that a forward pass of train.py's settings keeps."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**dict(train.model_settings(), n_layer=n_layer)))
    if compiled:
        model.compile(dynamic=False)
    bases = torch.randint(0, N, (windows, train.block_size))
    storages = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            loss = base_nll(model, bases).sum()
    del loss
    return sum(storages.values())


def bytes_of_a_window(compiled):
    """Bytes that each window of a micro-batch keeps, at train.py's depth."""
    of_one = kept(1, 2, compiled) - kept(1, 1, compiled)
    of_two = kept(2, 2, compiled) - kept(2, 1, compiled)
    return of_one + (train.n_layer - 1) * (of_two - of_one)


def main():
    for config in sys.argv[1:]:
        configure(vars(train), [config])
        with torch.device("meta"):
            model = GPT(GPTConfig(**train.model_settings()))
        weights = sum(p.numel() for p in model.parameters())
        print(f"{config}: {weights / 1e6:.1f}M weights, windows of {train.block_size}")
        for compiled in (True, False):
            window = bytes_of_a_window(compiled)
            how = "compiled" if compiled else "not compiled"
            print(f"  {how}: {window / 1e6:,.0f} MB a window")
            for cards in (1, 2):
                per_weight = BYTES_A_WEIGHT + (TO_SEND if cards > 1 else 0)
                fixed = weights * per_weight / 1e9 + CONTEXT
                total = fixed + train.batch_size * window / 1e9
                most = [int(((1 - FREE) * gb - fixed) * 1e9 / window) for gb in CARDS]
                print(
                    f"    {cards} card{'s' * (cards > 1)}: {fixed:.1f} GB and the windows, "
                    f"{total:.1f} GB at batch_size {train.batch_size}; the largest micro-batch on "
                    + ", ".join(f"{gb} GB {n}" for gb, n in zip(CARDS, most))
                )


if __name__ == "__main__":
    main()
