"""The GPT, Muon and the Markov models: properties, and known answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import encode, reverse_complement
from markov import Markov, kmers
from model import GPT, GPTConfig, N, base_nll, relu2
from optim import Muon, orthogonalize


def small(scale=0.3, **changes):
    """A GPT whose weights are all drawn at random, so that nothing is hidden by the zeros of
    initialisation.
    """
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**dict(block_size=48, n_layer=3, n_head=2, n_embd=32), **changes}))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=scale)
    return model


def test_initial_loss_is_uniform_over_the_four_bases():
    """ln 4, not ln 5: N is read and never predicted, so the head has no row for it; and the head
    starts at zero.
    """
    model = GPT(GPTConfig(block_size=32, n_layer=2, n_head=2, n_embd=32))
    bases = torch.randint(0, 5, (4, 32))
    nll = base_nll(model, bases)
    assert (
        torch.allclose(nll[bases < N], torch.tensor(math.log(4))) and (nll[bases == N] == 0).all()
    )


def test_causality_by_gradient():
    model = small()
    reach = []
    model.blocks[0].register_forward_pre_hook(
        lambda module, args: reach.append(args[0])
    )  # the embedded input
    tokens = torch.randint(0, 5, (1, 20))
    for t in (0, 7, 19):
        reach.clear()
        logits = model(tokens)
        (gradient,) = torch.autograd.grad(logits[0, t].sum(), reach[0])
        size = gradient[0].abs().sum(-1)
        assert (size[: t + 1] > 0).all() and (size[t + 1 :] == 0).all()


def test_a_later_token_changes_no_earlier_logit():
    model, tokens = small(), torch.randint(0, 5, (1, 20))
    for t in (0, 5, 19):
        changed = tokens.clone()
        changed[0, t] = (changed[0, t] + 1) % 5
        moved = (model(tokens) - model(changed)).abs().amax(-1)[0]
        assert (moved[:t] == 0).all() and moved[t] > 0


def test_the_stem_reads_its_last_bases_and_no_others():
    model, tokens = small(stem_bases=5), torch.randint(0, 4, (1, 20))
    before = model.stem(tokens)  # of tokens 4 to 19
    for t in range(20):
        changed = tokens.clone()
        changed[0, t] = (changed[0, t] + 1) % 4
        moved = (model.stem(changed) != before).any(-1)[0]
        assert moved.tolist() == [t <= at <= t + 4 for at in range(4, 20)]


def test_a_detector_adds_up_its_letters_and_nothing_for_n():
    model = small(stem_bases=3, stem_width=1, n_embd=4)
    weights = model.stem.detect.weight.view(
        3, 4
    )  # base before the last but one ... last base, A C G T
    found = relu2(weights[0, 2] + weights[2, 1])
    assert torch.allclose(model.stem(torch.tensor([[2, N, 1]])), found * model.stem.out.weight.T)


@pytest.mark.parametrize("pieces", ((1,) * 48, (17,) + (1,) * 31, (2, 9, 1, 20, 16), (48,)))
def test_cached_equals_full_at_every_position(pieces):
    model, tokens = small(), torch.randint(0, 5, (3, 48))
    with torch.no_grad():
        full = model(tokens)
        cache = model.new_cache(3, torch.float32)
        steps = []
        for piece in tokens.split(pieces, 1):
            steps.append(model(piece, cache))
            if cache.pos < 48:  # tokens that are taken back leave no trace
                model(torch.randint(0, 5, (3, 5))[:, : 48 - cache.pos], cache)
                cache.pos = sum(s.size(1) for s in steps)
    assert torch.allclose(torch.cat(steps, 1), full, atol=1e-5)


def test_nll_of_a_known_sequence():
    model, bases = small(), torch.tensor([[0, 1, 4, 2]])
    logp = model(torch.tensor([[4, 0, 1, 4]])).log_softmax(
        -1
    )  # start symbol, then all but the last; a real N is an input too
    assert torch.allclose(
        base_nll(model, bases),
        -torch.stack([logp[0, 0, 0], logp[0, 1, 1], torch.zeros(()), logp[0, 3, 2]])[None],
    )


def test_wrong_shape_of_model_is_refused():
    with pytest.raises(ValueError, match="n_embd = 30"):
        GPT(GPTConfig(n_embd=30, n_head=4))


def test_states_by_layer():
    model, tokens = small(), torch.randint(0, 4, (2, 10))
    assert torch.equal(model.states(tokens), model.states(tokens, layer=3))
    assert not torch.allclose(model.states(tokens), model.states(tokens, layer=1))
    assert torch.allclose(model.lm_head(model.states(tokens))[..., :4], model(tokens))


@pytest.mark.parametrize("shape", ((3, 16, 16), (2, 64, 16), (2, 16, 64)))
def test_newton_schulz_flattens_the_spectrum(shape):
    torch.manual_seed(0)
    G = torch.randn(shape, dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalize(G))
    assert values.min() > 0.3 and values.max() < 1.3  # the quintic's band about 1
    U, _, V = torch.linalg.svd(G, full_matrices=False)
    assert (
        torch.nn.functional.cosine_similarity(orthogonalize(G).flatten(), (U @ V).flatten(), 0)
        > 0.95
    )


def test_muon_treats_each_matrix_alone_and_qkv_as_three():
    torch.manual_seed(0)
    shapes = (
        (48, 16),
        (48, 16),
        (16, 16),
        (16, 16),
        (64, 16),
    )  # the first is a qkv, the second not
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    gradients = [torch.randn_like(w) for w in weights]
    before = [w.detach().clone() for w in weights]
    for w, g in zip(weights, gradients):
        w.grad = g
    Muon(weights, lr=0.1, qkv=weights[:1]).step()
    for w, old, g in zip(weights, before, gradients):
        parts = g.split(16) if w is weights[0] else [g]
        expected = torch.cat(
            [orthogonalize(p[None])[0] * max(1, len(p) / 16) ** 0.5 for p in parts]
        )
        assert torch.allclose(old - w, 0.1 * expected, atol=1e-5)


def test_muon_momentum_is_nesterov():
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    muon = Muon([weight], lr=1.0, momentum=0.5)
    first, second = torch.randn(4, 4), torch.randn(4, 4)
    weight.grad = first
    muon.step()
    old, weight.grad = weight.detach().clone(), second
    muon.step()
    buffer = 0.5 * (0.5 * first) + 0.5 * second
    assert torch.allclose(
        old - weight, orthogonalize((0.5 * second + 0.5 * buffer)[None])[0], atol=1e-5
    )


def test_a_step_of_muon_lowers_a_loss():
    model, bases = small(0.1), torch.randint(0, 4, (8, 32))
    muon = Muon(model.matrices(), lr=0.01)
    first = base_nll(model, bases).mean()
    first.backward()
    muon.step()
    assert base_nll(model, bases).mean() < first


def naive_markov(bases, order, strength):
    """P(base | context) by dictionaries, both strands: one {context: four probabilities} for each
    length of context.
    """
    counts = [{} for _ in range(order + 1)]
    for strand in (bases, reverse_complement(bases)):
        for i in range(len(strand) - order):
            *context, base = (int(b) for b in strand[i : i + order + 1])
            if max(context) < N and base < N:
                for k in range(order + 1):
                    counts[k].setdefault(tuple(context[order - k :]), np.zeros(4))[base] += 1
    tables, shorter = [], {(): np.full(4, 0.25)}
    for level in counts:
        tables.append(
            {
                context: (c + strength * shorter[context[1:]]) / (c.sum() + strength)
                for context, c in level.items()
            }
        )
        shorter = tables[-1]
    return tables


@given(
    st.integers(1, 15),
    st.lists(st.sampled_from((0, 1, 2, 3, 3, 2, 1, 0, 3, N)), min_size=15, max_size=60),
)
def test_kmers_are_numbers_in_base_4_and_negative_at_n(k, tokens):
    found = kmers(torch.tensor(tokens), k).tolist()
    windows = [tokens[i : i + k] for i in range(len(tokens) - k + 1)]
    assert len(found) == len(windows)
    for number, window in zip(found, windows):
        assert number < 0 if N in window else number == int("".join(map(str, window)), 4)


def test_markov_against_dictionaries():
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 4, 400).astype(np.uint8)
    bases[rng.integers(0, 400, 10)] = N
    model = Markov(
        bases | 8 * rng.integers(0, 2, 400).astype(np.uint8), 3, strength=5.0, chunk=64
    )  # chunks and repeat bits change nothing
    tables = naive_markov(bases, 3, 5.0)
    tokens = torch.tensor([[4, 0, 1, 2, 3, 3, 4, 1, 2, 0, 0]])
    p = model(tokens).exp()[0]
    for t in range(tokens.size(1)):
        context = []
        for k in range(3):  # the longest context of known bases
            if t - k < 0 or tokens[0, t - k] == N:
                break
            context.insert(0, int(tokens[0, t - k]))
        if tuple(context) in tables[len(context)]:
            assert np.allclose(p[t].numpy(), tables[len(context)][tuple(context)], atol=1e-6), (
                t,
                context,
            )


def test_markov_lower_orders_come_from_the_higher_by_summing():
    bases = np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8)
    high, low = Markov(bases, 6), Markov(bases, 2)
    lowered = high.at_order(2)
    tokens = torch.randint(0, 5, (3, 40))
    assert torch.allclose(
        lowered(tokens), low(tokens), atol=1e-2
    )  # but for the first bases of the sequence, which start no 7-mer
    assert torch.allclose(lowered(tokens).exp().sum(-1), torch.ones(3, 40))


@settings(max_examples=20, deadline=None)
@given(st.text("ACGT", min_size=20, max_size=60))
def test_markov_both_strands_alike(letters):
    bases = encode(letters)
    one, other = Markov(bases, 2), Markov(reverse_complement(bases), 2)
    tokens = torch.randint(0, 4, (1, 20))
    assert torch.allclose(one(tokens), other(tokens), atol=1e-6)


def test_overfits_one_batch():
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=64, n_layer=2, n_head=2, n_embd=64))
    bases = torch.randint(0, 4, (4, 64))
    muon = Muon(model.matrices(), lr=0.02)
    adam = torch.optim.AdamW([*model.wte.parameters(), *model.lm_head.parameters()], lr=0.01)
    for _ in range(60):
        loss = base_nll(model, bases).mean()
        loss.backward()
        for opt in (muon, adam):
            opt.step()
            opt.zero_grad()
    assert loss < 0.1
