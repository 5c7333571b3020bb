"""The GPT. Imports torch and nothing of the project.

A model takes input tokens (A 0, C 1, G 2, T 3, N 4) and returns logits over A, C, G, T for the base
that follows each one; base_nll makes inputs and targets of a sequence. N is the start symbol and
stands for unknown bases: it is read, never predicted, and costs nothing where it would be a target.
The output layer starts at zero, so an untrained model costs ln 4 nats. Weights are float32; to
compute in 16 bits, call the model under autocast. On a first reading leave out all that has `cache`
in its name: it serves sampling alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

LETTERS = 4  # A, C, G, T: tokens 0 to 3, inputs and targets
N = 4  # the token that is an input and never a target
ROTARY_BASE = 10000  # as in Su et al., 2021: the slowest channels turn by about 1 / base a token
OUTPUT_ROWS = 8  # the four letters, padded because a GPU's matrix units like multiples of eight


@dataclass
class GPTConfig:
    block_size: int = 1024  # tokens read at once: the start symbol, then all bases but the last
    n_layer: int = 12
    n_head: int = 6  # heads of 128 for n_embd = 768
    n_embd: int = 768
    stem_bases: int = 16  # bases that the stem's detectors read
    stem_width: int = 512  # number of detectors
    dropout: float = 0.0


def norm(x):
    """RMSNorm (Zhang and Sennrich, 2019) over the last dimension, in float32, without weights."""
    x = x.float()
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def rotate(x, cos, sin):
    """Rotary position embedding (Su et al., 2021): x (B, heads, T, head_size), cos and sin
    (T, head_size / 2). Unlike in the paper the pairs are the two halves of a head, turned by minus
    the angle; attention sees differences of angles alone, so that is the same.
    """
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


def relu2(x):
    """ReLU squared (So et al., 2021).

    As a product, because autocast on a GPU would compute .square() in float32.
    """
    x = F.relu(x)
    return x * x


class Stem(nn.Module):
    """Motif detectors that read the bases themselves, like Basset's first layer, but causal.

    Each detector has a weight for each letter at each of the last `stem_bases` positions: a
    position weight matrix. What the detectors find is added to the token's embedding, so that the
    first attention already sees which motifs end there.
    """

    INIT_STD = 0.25  # 16 ** -0.5: the sum of a new detector over 16 bases has standard deviation 1

    def __init__(self, config):
        super().__init__()
        self.bases = config.stem_bases
        self.detect = nn.Linear(config.stem_bases * LETTERS, config.stem_width, bias=False)
        self.out = nn.Linear(config.stem_width, config.n_embd, bias=False)

    def forward(self, tokens):
        """(B, stem_bases - 1 + T) tokens -> (B, T, n_embd): of the last T tokens, each with the
        stem_bases - 1 before it.
        """
        windows = tokens.unfold(1, self.bases, 1)  # (B, T, stem_bases)
        letters = torch.arange(LETTERS, device=tokens.device)
        one_hot = windows[..., None] == letters  # (B, T, stem_bases, 4), all zeros for N
        matches = self.detect(one_hot.flatten(2).to(self.detect.weight.dtype))
        return self.out(relu2(matches))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, cos, sin, layer_cache=None):
        """x (B, T, n_embd) -> (B, T, n_embd). cos, sin: (T, head_size / 2), of the tokens'
        positions.

        layer_cache: (keys, values, pos) of this layer: two views into a Cache, (B, n_head,
        block_size, head_size), which are written in place, and how many tokens they hold; None in
        training.
        """
        B, T, D = x.shape
        heads = self.qkv(x).view(B, T, 3 * self.n_head, D // self.n_head)
        # queries and keys stay one tensor of 2 n_head heads, so that both are normalised (QK-norm)
        # and rotated in one go
        qk, v = heads.transpose(1, 2).split((2 * self.n_head, self.n_head), 1)
        qk = rotate(norm(qk), cos, sin).type_as(v)
        q, k = qk.chunk(2, 1)  # (B, n_head, T, head_size) each, as v
        if layer_cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = self.attend_to_cache(q, k, v, *layer_cache)
        return self.out(y.transpose(1, 2).reshape(B, T, D))

    def attend_to_cache(self, q, k, v, keys, values, pos):
        """Write the keys and values of T new tokens behind the `pos` cached ones, in place; then
        let each new token attend to all of those up to itself.
        """
        T = q.size(2)
        keys[:, :, pos : pos + T] = k
        values[:, :, pos : pos + T] = v
        k, v = keys[:, :, : pos + T], values[:, :, : pos + T]
        # The mask below is right in all cases. The first two need none, and get a faster kernel.
        if pos == 0:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if T == 1:
            return F.scaled_dot_product_attention(q, k, v)
        # query i stands at key pos + i, and sees the keys up to there
        mask = torch.ones(T, pos + T, dtype=torch.bool, device=q.device).tril(pos)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.hidden = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.out = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x):
        return self.out(relu2(self.hidden(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cos, sin, layer_cache=None):
        x = x + self.dropout(self.attention(norm(x), cos, sin, layer_cache))
        x = x + self.dropout(self.mlp(norm(x)))
        return x


class Cache:
    """What a model keeps of the tokens that it has read, so that the next ones cost less.

    tokens: (batch, stem_bases - 1 + block_size): N's, so that the stem's window is complete at the
    first token, then the tokens. keys, values: (n_layer, batch, n_head, block_size, head_size).
    pos: how many tokens are in use, the same in all rows; lower it to forget the last ones, as
    sample.py does where it guessed bases ahead and was wrong.
    """

    def __init__(self, model, batch, dtype):
        c = model.config
        device = model.cos.device
        shape = (c.n_layer, batch, c.n_head, c.block_size, c.n_embd // c.n_head)
        self.tokens = torch.full((batch, c.stem_bases - 1 + c.block_size), N, device=device)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.pos = 0


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.n_head < 1 or config.n_embd % (2 * config.n_head):
            raise ValueError(
                f"n_embd = {config.n_embd} must be an even multiple of n_head = {config.n_head}"
            )
        self.config = config
        self.wte = nn.Embedding(N + 1, config.n_embd)
        self.stem = Stem(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.lm_head = nn.Linear(config.n_embd, OUTPUT_ROWS, bias=False)
        head_size = config.n_embd // config.n_head
        frequencies = ROTARY_BASE ** (-torch.arange(0, head_size, 2) / head_size)
        angles = torch.outer(torch.arange(config.block_size), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, p in self.named_parameters():
            self.init_weight(name, p)

    @staticmethod
    def init_weight(name, p):
        """Set the start value of a parameter, by its name.

        Every layer that is named `out` starts at zero, and so does lm_head: each block as the
        identity, the prediction as uniform. A new kind of parameter, such as a gain, needs a branch
        here.
        """
        if name.endswith(".out.weight") or name == "lm_head.weight":
            nn.init.zeros_(p)
        elif name == "wte.weight":  # normed anyway: this only sets how fast AdamW can turn them
            nn.init.normal_(p, std=0.5)
        elif name == "stem.detect.weight":
            nn.init.normal_(p, std=Stem.INIT_STD)
        elif p.ndim == 2:  # half of 1 / sqrt(inputs), with which outputs are as large as inputs
            nn.init.normal_(p, std=0.5 * p.size(1) ** -0.5)
        else:
            raise ValueError(f"{name}: init_weight does not say how it starts")

    def matrices(self):
        """The weights that Muon trains: the matrices of the blocks, and stem.out.

        AdamW trains the rest: wte, stem.detect, lm_head, and any bias or gain that a block is
        given. A block's table, such as an embedding, has 2 dimensions too: leave it out here.
        """
        return [p for p in (*self.blocks.parameters(), self.stem.out.weight) if p.ndim == 2]

    def new_cache(self, batch, dtype):
        """An empty Cache for `batch` sequences. dtype: of keys and values, so that of autocast, or
        float32 without it.
        """
        return Cache(self, batch, dtype)

    def embed(self, idx, cache=None):
        """(B, T) tokens -> (B, T, n_embd): each token's embedding plus the stem's findings."""
        reach = self.config.stem_bases - 1  # the stem reads so many tokens before each one
        if cache is None:
            tokens = F.pad(idx, (reach, 0), value=N)
        else:
            end = cache.pos + reach + idx.size(1)
            cache.tokens[:, cache.pos + reach : end] = idx
            tokens = cache.tokens[:, cache.pos : end]
        return norm(self.wte(idx)) + self.stem(tokens)

    def states(self, idx, cache=None, layer=None):
        """(B, T) tokens -> (B, T, n_embd) normalised states after `layer` blocks, by default all.

        With a cache, idx are the tokens behind its first cache.pos ones, and cache.pos grows by T;
        it needs all blocks.
        """
        T = idx.size(1)
        pos = 0 if cache is None else cache.pos
        assert cache is None or layer is None, "a cache holds what all blocks have read"
        assert layer is None or 0 <= layer <= self.config.n_layer, (
            f"layer {layer} of {self.config.n_layer}"
        )
        assert pos + T <= self.config.block_size, (
            f"tokens {pos} to {pos + T} of a context of {self.config.block_size}"
        )
        x = self.embed(idx, cache)
        cos, sin = self.cos[pos : pos + T], self.sin[pos : pos + T]
        for i, block in enumerate(self.blocks[:layer]):
            layer_cache = None
            if cache is not None:
                layer_cache = (cache.keys[i], cache.values[i], pos)
            x = block(x, cos, sin, layer_cache)
        if cache is not None:
            cache.pos = pos + T
        return norm(x)

    def forward(self, idx, cache=None):
        """(B, T) tokens -> (B, T, 4) float32 logits of the base that follows each."""
        return self.lm_head(self.states(idx, cache))[..., :LETTERS].float()


def base_nll(model, bases):
    """(B, T) bases -> (B, T) nats that each base costs, given the start symbol and those before it.

    0 at N. Training and evaluation both go through it.
    """
    logits = model(F.pad(bases[:, :-1], (1, 0), value=N))
    nll = F.cross_entropy(logits.flatten(0, 1), bases.flatten(), ignore_index=N, reduction="none")
    return nll.view_as(bases)
