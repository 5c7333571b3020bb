"""What a checkpoint has not learnt that something simpler knows: bits per base of both mixed.

  python -m experiments.mixing out/ckpt.pt [another.pt] --dataset=pieces --bases=2457600

Mixed are log-probabilities, each with a weight fitted on every other window and scored on the rest:
with Markov models counted on as many training bases as the run has read, and on all; with a copier,
which expects what followed the same k bases earlier in the window; with another run's checkpoint,
in equal parts.
"""

import argparse
import math

import numpy as np
import torch
import torch.nn.functional as F

from config import find_dataset
from data import Genome, eval_windows
from markov import Markov
from model import N
from runtime.checkpoint import load_model


def copier(idx, k):
    """(B, T) tokens -> (B, T, 4) log-probabilities: 0.7 for what followed the last k tokens when
    they last stood in the row, else uniform.
    """
    out = torch.full((*idx.shape, 4), math.log(0.25))
    for row, tokens in zip(out, idx.tolist()):
        last = {}
        for t in range(k - 1, len(tokens)):
            key = tuple(tokens[t - k + 1 : t + 1])
            if key in last and N not in key and tokens[last[key] + 1] < N:
                row[t] = math.log(0.1)
                row[t, tokens[last[key] + 1]] = math.log(0.7)
            last[key] = t
    return out


def mixed_bits(parts, targets, weights):
    """Bits per base of targets (B, T) under the normalised weighted sum of parts (K, B, T, 4)."""
    logits = torch.einsum("k,krtc->rtc", weights, parts)
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=N)
    return nats / math.log(2)


def fit_weights(parts, targets):
    """The weights (K,) of parts (K, B, T, 4) that cost the fewest bits."""
    weights = torch.zeros(len(parts))
    weights[0] = 1.0
    weights.requires_grad_(True)
    optimizer = torch.optim.LBFGS([weights], max_iter=30)

    def closure():
        optimizer.zero_grad()
        loss = mixed_bits(parts, targets, weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def mixed(parts, targets, weights=None):
    """(bits per base on every other row, weights) of log-probabilities mixed.

    parts: K of (B, T, 4). targets: (B, T). weights: fitted on the rows that are not scored, where
    not given.
    """
    parts = torch.stack(parts)
    if weights is None:
        weights = fit_weights(parts[:, 0::2], targets[0::2])
    else:
        weights = torch.tensor(weights)
    return mixed_bits(parts[:, 1::2], targets[1::2], weights).item(), weights.tolist()


def log_probabilities(model, idx):
    """(B, T) tokens -> (B, T, 4)."""
    with torch.no_grad():
        return torch.cat([model(part).log_softmax(-1) for part in idx.split(16)])


def first_share(genome, share):
    """That share of each stretch of the training bases, one array."""
    train = genome.bases("train")
    stretches = genome.stretches("train")
    return np.concatenate([train[a : a + round((b - a) * share)] for a, b in stretches])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ckpts", nargs="+", help="a checkpoint, and others to mix with it")
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--bases", type=int, required=True, help="bases that the run has read")
    parser.add_argument("--eval_tokens", type=int, default=2**18, help="bases to score")
    args = parser.parse_args()
    genome = Genome(find_dataset(args.dataset))
    models = [load_model(path)[0] for path in args.ckpts]
    block_size = models[0].config.block_size
    windows = eval_windows(
        genome.bases("val"), genome.stretches("val"), block_size, args.eval_tokens
    )
    targets = torch.from_numpy(windows & 7).long()
    idx = F.pad(targets[:, :-1], (1, 0), value=N)
    ours, *others = [log_probabilities(model, idx) for model in models]
    train = genome.bases("train")
    some = first_share(genome, min(1.0, args.bases / len(train)))
    rows = {"the checkpoint alone, calibrated": [ours]}
    for order in (9, 12):
        rows[f"and Markov {order} of {len(some):,} bases"] = [ours, Markov(some, order)(idx)]
    rows[f"and Markov 12 of all {len(train):,}"] = [ours, Markov(train, 12)(idx)]
    for k in (8, 12):
        rows[f"and a copier of {k} bases"] = [ours, copier(idx, k)]
    for name, parts in rows.items():
        bits, weights = mixed(parts, targets)
        shown = " ".join(f"{w:.2f}" for w in weights)
        print(f"{name:45}{bits:8.4f} bits   weights {shown}", flush=True)
    print(f"the first checkpoint: {mixed([ours], targets, [1.0])[0]:.4f}")
    for path, other in zip(args.ckpts[1:], others):
        alone = mixed([other], targets, [1.0])[0]
        half = mixed([ours, other], targets, [0.5, 0.5])[0]
        print(f"{path}: {alone:.4f}, half and half {half:.4f}")


if __name__ == "__main__":
    main()
