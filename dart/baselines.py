"""The models that stand beside ours in the tables. A further baseline is one more Candidate, or one
more row(...), in one of the three lists here: zero_shot_rows and probe_rows of Task 1,
likelihood_rows of Tasks 2 and 5. (tests/test_eval_dart.py and tests/test_tasks.py list all rows.)

A Candidate's model is any function of (B, T) tokens, the first of them the start symbol N = 4, to
(B, T, 4) logits or log-probabilities of the base that follows each:

    def at_the_start(tokens):
        return torch.zeros(*tokens.shape, 4, device=tokens.device)

    Candidate("uniform again", at_the_start)
"""

import math

import torch

from dart import notes
from dart.elements import spaced
from dart.folds import FEW
from dart.metrics import rate
from dart.networks import CNN, AbInitio, linear
from dart.pairs import make_pairs
from dart.probe import Probe, embedder
from dart.zero_shot import Candidate, differences
from markov import Markov
from model import GPT

CHECKED = 1_000  # pairs to choose the Markov order by

# ---- Markov models


def count_markov(genome, highest):
    """A Markov model of the training bases, of order `highest`, or of the highest one that so many
    bases support, at least 1.
    """
    bases = genome.bases("train")
    enough_for = int(math.log(max(4, len(bases)), 4))  # as many contexts as bases
    order = max(1, min(highest, enough_for))
    where = f"{genome.folder}'s training bases"
    print(f"counting Markov models up to order {order} on {where} ...", flush=True)
    return Markov(bases, order)


def compare_orders(markov, pairs):
    """{order: zero-shot accuracy} of a Markov model, for 1 up to its own order.

    A bigram cannot tell pairs with the same dinucleotides apart: it has 0, but for pairs with N.
    """
    accuracy = {}
    for order in range(1, markov.order + 1):
        candidate = Candidate(f"Markov order {order}", markov.at_order(order))
        accuracy[order] = rate(differences(candidate, pairs, 512))["accuracy"]
    return accuracy


def best_order(markov, genome, elements, rows, split, tested, lines):
    """The Markov order of the best zero-shot accuracy: on val pairs, or on the tested ones where
    there are too few of those. lines: a list that gets one on it.
    """
    part = "tested"
    choosing = tested
    if split == "test" and len(rows["val"]) >= FEW:
        part = "val"
        choosing = rows["val"]
    pairs, _ = make_pairs(genome, elements[spaced(choosing, CHECKED)])
    accuracy = compare_orders(markov, pairs)
    lines.append(notes.about_orders(accuracy, len(pairs), part))
    return max(accuracy, key=accuracy.get)


# ---- the lists


def zero_shot_rows(gpt, markov, best):
    """The rows of Task 1's zero-shot table. best: the order of the best Markov model."""
    rows = [Candidate("uniform", None), Candidate("bigram", markov.at_order(1))]
    if best > 1:
        rows.append(Candidate(f"Markov order {best}", markov.at_order(best)))
    rows.append(gpt)
    return rows


def probe_rows(gpt, markov, settings):
    """The rows of Task 1's probe. A baseline's model needs the method states, (B, T) tokens to
    (B, T, C).
    """
    torch.manual_seed(settings.seed)
    untrained = GPT(gpt.model.config).to(gpt.device).eval()
    one_hot = Candidate("one-hot", None, gpt.device)
    network = CNN
    tie = 0
    if settings.pool:
        network = linear
        tie = 1e-4  # pooled states of a pair may be equal but for rounding, which is no win
    after = settings.layer if settings.layer >= 0 else None  # all blocks

    def row(candidate, after=None):
        embed = embedder(candidate, settings.pool, after)
        return Probe(candidate.name, embed, network, tie=tie)

    return [
        row(one_hot),
        row(Candidate("bigram", markov.at_order(1))),
        row(Candidate("untrained", untrained, gpt.device), after),
        row(gpt, after),
        Probe("ab initio CNN", embedder(one_hot), AbInitio, learning_rate=1e-3),
    ]


def likelihood_rows(gpt, markov):
    """The rows of Tasks 2 and 5: uniform, which is what an untrained model says, Markov models of
    every order, and this model.
    """
    rows = [Candidate("untrained (uniform)", None), Candidate("bigram", markov.at_order(1))]
    for order in range(2, markov.order + 1):
        rows.append(Candidate(f"Markov order {order}", markov.at_order(order)))
    return [*rows, gpt]
