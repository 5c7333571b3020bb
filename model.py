"""The GPT, its optimiser, and the Markov models that it has to beat. Imports torch and nothing of the project.

A model takes input tokens (A 0, C 1, G 2, T 3, N 4) and returns logits over A, C, G, T for the base that follows each one.
N is the start symbol and stands for unknown bases: it is read, never predicted, so an untrained model costs ln 4 nats.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

N = 4  # the token that is an input and never a target
HEAD_ROWS = 8  # four letters, padded to eight rows because a GPU's matrix units like multiples of eight


@dataclass
class GPTConfig:
    block_size: int = 1024  # bases a prediction may look back on
    n_layer: int = 12
    n_head: int = 6  # heads of 128 for n_embd = 768
    n_embd: int = 768
    stem_bases: int = 16  # bases that the stem's detectors read
    stem_width: int = 512  # number of detectors
    dropout: float = 0.0


def norm(x):
    """RMSNorm (Zhang and Sennrich, 2019) over the last dimension, without weights, computed in float32."""
    x = x.float()
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def rotate(x, cos, sin):
    """Rotary position embedding (Su et al., 2021) of x (B, heads, T, head) by the tables cos and sin (T, head / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


def relu2(x):
    """ReLU squared (So et al., 2021). A product, because autocast on a GPU would compute .square() in float32."""
    x = F.relu(x)
    return x * x


class Stem(nn.Module):
    """Motif detectors on the bases themselves, as in the first layer of Basset or Enformer, but causal.

    Each detector is a weight for each letter at each of the last `stem_bases` positions: a position weight matrix.
    What the detectors find at a position is added to the embedding of its token, so that the first attention already
    knows the k-mer that ends there.
    """

    START = 0.25  # spread of a new detector's weights: over 16 bases its sum is then of size 1

    def __init__(self, config):
        super().__init__()
        self.bases = config.stem_bases
        self.detect = nn.Linear(config.stem_bases * N, config.stem_width, bias=False)
        self.out = nn.Linear(config.stem_width, config.n_embd, bias=False)

    def forward(self, tokens):
        """(B, stem_bases - 1 + T) tokens -> (B, T, n_embd), for the last T of them."""
        windows = tokens.unfold(1, self.bases, 1)  # (B, T, stem_bases)
        letters = torch.arange(N, device=tokens.device)
        one_hot = windows[..., None] == letters  # (B, T, stem_bases, 4); all zeros where the token is N
        matches = self.detect(one_hot.flatten(2).to(self.detect.weight.dtype))
        return self.out(relu2(matches))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, cos, sin, cache=None):
        """x (B, T, n_embd) -> (B, T, n_embd). cache: this layer's (keys, values, number of tokens that they hold)."""
        B, T, D = x.shape
        heads = self.qkv(x).view(B, T, 3 * self.n_head, D // self.n_head).transpose(1, 2)  # (B, 3 heads, T, head)
        qk, v = heads.split((2 * self.n_head, self.n_head), 1)
        q, k = rotate(norm(qk), cos, sin).type_as(v).chunk(2, 1)  # queries and keys normalised: QK-norm
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = self.attend_to_cache(q, k, v, *cache)
        return self.out(y.transpose(1, 2).reshape(B, T, D))

    def attend_to_cache(self, q, k, v, keys, values, pos):
        """The same attention for T tokens that follow `pos` cached ones, whose keys and values are extended by theirs."""
        T = q.size(2)
        keys[:, :, pos : pos + T] = k
        values[:, :, pos : pos + T] = v
        k, v = keys[:, :, : pos + T], values[:, :, : pos + T]
        if pos == 0:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if T == 1:
            return F.scaled_dot_product_attention(q, k, v)
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

    def forward(self, x, cos, sin, cache=None):
        x = x + self.dropout(self.attention(norm(x), cos, sin, cache))
        x = x + self.dropout(self.mlp(norm(x)))
        return x


class Cache:
    """What a model keeps of the tokens that it has read, so that the next ones cost only themselves.

    tokens: (batch, stem_bases - 1 + block_size), which start with N's, as if nothing were known before the first one.
    keys, values: (n_layer, batch, n_head, block_size, head). pos: how many tokens are in use; lower it to take some back.
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
            raise ValueError(f"n_embd = {config.n_embd} must be an even multiple of n_head = {config.n_head}")
        self.config = config
        self.wte = nn.Embedding(N + 1, config.n_embd)
        self.stem = Stem(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.lm_head = nn.Linear(config.n_embd, HEAD_ROWS, bias=False)
        head = config.n_embd // config.n_head
        frequencies = 10000 ** (-torch.arange(0, head, 2) / head)
        angles = torch.outer(torch.arange(config.block_size), frequencies)  # (block_size, head / 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, p in self.named_parameters():
            self.init_weight(name, p)

    @staticmethod
    def init_weight(name, p):
        """Draw a parameter's start. Output layers start at zero: a block as the identity, the prediction as uniform."""
        if name.endswith("out.weight") or name == "lm_head.weight":
            nn.init.zeros_(p)
        elif name == "wte.weight":
            nn.init.normal_(p, std=0.5)
        elif name == "stem.detect.weight":
            nn.init.normal_(p, std=Stem.START)
        else:
            nn.init.normal_(p, std=0.5 * p.size(1) ** -0.5)

    def matrices(self):
        """The weights that Muon trains, and the N of 6 N flops a token: all matrices but those that touch the letters."""
        return [*(p for p in self.blocks.parameters()), self.stem.out.weight]

    def new_cache(self, batch, dtype):
        """An empty Cache for `batch` sequences; dtype: of keys and values."""
        return Cache(self, batch, dtype)

    def embed(self, idx, cache=None):
        """(B, T) tokens -> (B, T, n_embd): what each token is, and what the stem finds in the bases up to it."""
        reach = self.config.stem_bases - 1
        if cache is None:
            tokens = F.pad(idx, (reach, 0), value=N)
        else:
            end = cache.pos + reach + idx.size(1)
            cache.tokens[:, cache.pos + reach : end] = idx
            tokens = cache.tokens[:, cache.pos : end]
        return norm(self.wte(idx) + self.stem(tokens))

    def states(self, idx, cache=None, layer=None):
        """(B, T) tokens -> (B, T, n_embd) normalised states after `layer` blocks, all of them by default.

        With a cache, idx are the tokens that follow its first cache.pos ones, and cache.pos grows by T.
        """
        T = idx.size(1)
        pos = cache.pos if cache else 0
        assert layer is None or 0 <= layer <= self.config.n_layer, f"layer {layer} of {self.config.n_layer}"
        assert pos + T <= self.config.block_size, f"tokens {pos} to {pos + T} of a context of {self.config.block_size}"
        x = self.embed(idx, cache)
        cos, sin = self.cos[pos : pos + T], self.sin[pos : pos + T]
        for i, block in enumerate(self.blocks[:layer]):
            kept = (cache.keys[i], cache.values[i], pos) if cache else None
            x = block(x, cos, sin, kept)
        if cache:
            cache.pos = pos + T
        return norm(x)

    def forward(self, idx, cache=None):
        """(B, T) tokens -> (B, T, 4) float32 logits of the base that follows each."""
        return self.lm_head(self.states(idx, cache))[..., :N].float()


def base_nll(model, bases):
    """(B, T) bases -> (B, T) nats that each costs given those before it and the start symbol; 0 at N."""
    logits = model(F.pad(bases[:, :-1], (1, 0), value=N))
    nll = F.cross_entropy(logits.flatten(0, 1), bases.flatten(), ignore_index=N, reduction="none")
    return nll.view_as(bases)


def orthogonalize(G, steps=5):
    """(K, rows, cols) -> about U V^T of each matrix's SVD, by Newton-Schulz; quintic of Jordan et al. 2024, "Muon"."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G.mT if G.size(-2) > G.size(-1) else G
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)  # a X + (b A + c A A) X
    return X.mT if G.size(-2) > G.size(-1) else X


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for the matrices (Jordan et al. 2024); a fused qkv counts as three. dtype: of Newton-Schulz."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0, dtype=torch.float32):
        shapes = {}
        for p in params:  # same-shaped matrices go through Newton-Schulz together
            shapes.setdefault(p.shape, []).append(p)
        self.dtype = dtype
        super().__init__([{"params": group} for group in shapes.values()], dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params, updates = group["params"], []
            for p in params:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                updates.append(p.grad.lerp(buffer, group["momentum"]))  # Nesterov
            update = torch.stack(updates)
            rows, cols = update.shape[-2:]
            rows = cols if rows == 3 * cols else rows
            update = orthogonalize(update.view(-1, rows, cols).to(self.dtype)).view(len(params), -1, cols).type_as(params[0])
            for p, u in zip(params, update):
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(u, alpha=-group["lr"] * max(1, rows / cols) ** 0.5)


def kmers(tokens, k):
    """(n,) tokens -> (n - k + 1,) int64, each k-mer as a number in base 4, negative where it holds N. k at most 15."""
    one = torch.where(tokens < N, tokens.long(), -2 ** 31)
    code, have = one, 1
    for bit in bin(k)[3:]:  # twice as long, or that and one more, for each binary digit of k
        code, have = code[:-have] * 4 ** have + code[have:], 2 * have
        if bit == "1":
            code, have = code[:-1] * 4 + one[have:], have + 1
    return code


class Markov(nn.Module):
    """Interpolated Markov model: P_k = (counts_k + strength P_k-1) / (total_k + strength), both strands counted.

    strength: the best of 20 to 1,000 on real and on toy DNA (EXPERIMENTS.md). Takes and returns what GPT does. order may be lowered after fitting: the counts of order k are those of k + 1, summed.
    """

    def __init__(self, bases, order, strength=100.0, chunk=2 ** 18):
        super().__init__()
        self.order, n = order, order + 1
        counts = torch.zeros(4 ** n, dtype=torch.int64)
        for start in range(0, len(bases) - order, chunk):
            code = kmers(torch.as_tensor(bases[start:start + chunk + order] & 7), n)
            code = code[code >= 0]
            counts.scatter_add_(0, code, torch.ones_like(code))
        counts = counts.view((4,) * n)
        counts = (counts + counts.flip(tuple(range(n))).permute(*reversed(range(n)))).float().view(-1, 4)
        levels = [counts]
        for _ in range(order):
            levels.append(levels[-1].view(4, -1, 4).sum(0))
        P, self.tables = torch.full((1, 4), 0.25), []
        for c in reversed(levels):
            P = (c + strength * P.repeat(len(c) // len(P), 1)) / (c.sum(1, keepdim=True) + strength)
            self.tables.append(P.log())

    def forward(self, idx):
        """(B, T) tokens -> (B, T, 4) log-probabilities of the next base, from the longest context without N."""
        out, code, known = self.tables[0].expand(*idx.shape, 4), 0, True
        for k in range(1, self.order + 1):
            past = F.pad(idx, (k - 1, 0), value=N)[:, :idx.size(1)]
            code, known = code + past.clamp(max=3) * 4 ** (k - 1), (past < N) & known
            out = torch.where(known[..., None], self.tables[k][code], out)
        return out

    states = forward
