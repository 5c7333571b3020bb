"""What a checkpoint has not learnt that something simpler knows: bits per base of the two mixed,
beside the checkpoint's own.

  python -m tests.mixing out/ckpt.pt [another.pt] --dataset=pieces --bases=2457600

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
from model import N
from markov import Markov
from runtime.checkpoint import load_model


def copier(idx, k):
    """(B, T) tokens -> (B, T, 4) log-probabilities: 0.7 for what followed the last k tokens when
    they last stood in the row, else uniform.
    """
    out = torch.full((*idx.shape, 4), math.log(0.25))
    for row, tokens in zip(out, idx.tolist()):
        last = {}
        for t in range(k - 1, len(tokens)):
            key = tuple(tokens[t - k + 1:t + 1])
            if key in last and N not in key and tokens[last[key] + 1] < N:
                row[t] = math.log(0.1)
                row[t, tokens[last[key] + 1]] = math.log(0.7)
            last[key] = t
    return out


def mixed(parts, targets, weights=None):
    """Bits per base of each target, (B, T), under the normalised weighted sum of log-probabilities;
    weights: fitted on rows 0, 2, 4 ... where not given.
    """
    parts, fit = torch.stack(parts), weights is None
    weights = torch.tensor([1.0] + [0.0] * (len(parts) - 1) if fit else weights, requires_grad=fit)
    bits = lambda rows: F.cross_entropy(torch.einsum("k,krtc->rtc", weights, parts[:, rows]).flatten(0, 1), targets[rows].flatten(), ignore_index=N) / math.log(2)
    if fit:
        optimizer = torch.optim.LBFGS([weights], max_iter=30)

        def closure():
            optimizer.zero_grad()
            loss = bits(slice(0, None, 2))
            loss.backward()
            return loss
        optimizer.step(closure)
    with torch.no_grad():
        return bits(slice(1, None, 2)).item(), weights.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpts", nargs="+")
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--bases", type=int, required=True, help="training bases that the run has read")
    parser.add_argument("--eval_tokens", type=int, default=2 ** 18)
    args = parser.parse_args()
    genome, models = Genome(find_dataset(args.dataset)), [load_model(path)[0] for path in args.ckpts]
    windows = eval_windows(genome.bases("val"), genome.stretches("val"), models[0].config.block_size, args.eval_tokens)
    targets = torch.from_numpy(windows & 7).long()
    idx = F.pad(targets[:, :-1], (1, 0), value=N)
    with torch.inference_mode():
        ours = [torch.cat([model(part).log_softmax(-1) for part in idx.split(16)]) for model in models]
    ours, train = [part.clone() for part in ours], genome.bases("train")
    share = min(1.0, args.bases / len(train))
    some = np.concatenate([train[a:a + round((b - a) * share)] for a, b in genome.stretches("train")])
    rows = {"the checkpoint alone, calibrated": ours[:1]}
    for order in (9, 12):
        rows[f"and Markov {order} of {len(some):,} bases"] = [ours[0], Markov(some, order)(idx)]
    rows[f"and Markov 12 of all {len(train):,}"] = [ours[0], Markov(train, 12)(idx)]
    rows.update({f"and a copier of {k} bases": [ours[0], copier(idx, k)] for k in (8, 12)})
    for name, parts in rows.items():
        bits, weights = mixed(parts, targets)
        print(f"{name:45}{bits:8.4f} bits   weights " + " ".join(f"{w:.2f}" for w in weights), flush=True)
    for path, part in zip(args.ckpts[1:], ours[1:]):
        print(f"{path}: {mixed([part], targets, [1.0])[0]:.4f}, half and half {mixed([ours[0], part], targets, [0.5, 0.5])[0]:.4f}, the first {mixed(ours[:1], targets, [1.0])[0]:.4f}")


if __name__ == "__main__":
    main()
