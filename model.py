"""The GPT, its optimiser, and the Markov models that it has to beat. Imports torch and nothing of the project.

A model takes input tokens (A 0, C 1, G 2, T 3, N 4) and returns logits over A, C, G, T for the base that follows each one.
N is the start symbol and stands for unknown bases: it is read, never predicted, so an untrained model costs ln 4 nats.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

N = 4           # the token that is an input and never a target
HEAD_ROWS = 8   # four letters, padded so that a GPU's matrix units like the shape


@dataclass
class GPTConfig:
    block_size: int = 1024   # bases a prediction may look back on
    n_layer: int = 12
    n_head: int = 6          # heads of 128 for n_embd = 768
    n_embd: int = 768
    conv: int = 8            # bases that the convolutions before attention and MLP see; 1 is none
    dropout: float = 0.0


def norm(x):
    """RMSNorm (Zhang and Sennrich, 2019) without weights, in fp32; compiled it is one kernel, and not compiled faster on CPUs than F.rms_norm."""
    x = x.float()
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def rotate(x, cos, sin):
    """Rotary position embedding (Su et al., 2021) of (B, H, T, head) with (T, head / 2) tables."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)


def relu2(x):
    """ReLU squared (So et al., 2021), by a product: CUDA's autocast would compute .square() in fp32."""
    x = F.relu(x)
    return x * x


def convolve(x, weight, past=None, pos=0):
    """x (B, T, D) plus a causal convolution of each channel apart: weight[j] (1, D) times the state len(weight) - j bases before.

    past: None, or (B, len(weight) + block_size, D), where x is kept from pos on, behind len(weight) zeros.
    """
    K, T = len(weight), x.size(1)
    if past is None:
        seen = F.pad(x, (0, 0, K, 0))
    else:
        past[:, pos + K:pos + K + T] = x
        seen = past[:, pos:pos + K + T].type_as(x)
    for j in range(K):
        x = x + weight[j] * seen[:, j:j + T]
    return x


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        D = config.n_embd
        self.n_head, self.dropout = config.n_head, nn.Dropout(config.dropout)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.attn_out = nn.Linear(D, D, bias=False)
        self.mlp_in = nn.Linear(D, 4 * D, bias=False)
        self.mlp_out = nn.Linear(4 * D, D, bias=False)
        self.attn_conv, self.mlp_conv = (nn.Parameter(torch.zeros(config.conv - 1, 1, D)) for _ in range(2))

    def attention(self, x, cos, sin, cache, pos):
        (B, T, D), H = x.shape, self.n_head
        qk, v = self.qkv(x).view(B, T, 3 * H, -1).transpose(1, 2).split((2 * H, H), 1)  # (B, heads, T, head)
        q, k = rotate(norm(qk), cos, sin).type_as(v).chunk(2, 1)
        if cache is not None:  # (B, 2 H, block_size, head): keys, then values, filled up to pos
            cache[:, :, pos:pos + T] = torch.cat((k, v), 1)
            k, v = cache[:, :, :pos + T].chunk(2, 1)
        mask = torch.ones(T, pos + T, dtype=torch.bool, device=x.device).tril(pos) if pos and T > 1 else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=T > 1 and not pos)
        return self.attn_out(y.transpose(1, 2).reshape(B, T, D))

    def forward(self, x, cos, sin, cache=None, past=(None, None), pos=0):
        x = x + self.dropout(self.attention(convolve(norm(x), self.attn_conv, past[0], pos), cos, sin, cache, pos))
        return x + self.dropout(self.mlp_out(relu2(self.mlp_in(convolve(norm(x), self.mlp_conv, past[1], pos)))))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.n_head < 1 or config.n_embd % (2 * config.n_head):
            raise ValueError(f"n_embd = {config.n_embd} must be an even multiple of n_head = {config.n_head}")
        self.config = config
        self.wte = nn.Embedding(N + 1, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.lm_head = nn.Linear(config.n_embd, HEAD_ROWS, bias=False)
        head = config.n_embd // config.n_head
        angle = torch.outer(torch.arange(config.block_size), 10000 ** (-torch.arange(0, head, 2) / head))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if name.endswith(("_out.weight", "lm_head.weight", "_conv")):
                nn.init.zeros_(p)  # each block starts as the identity, the prediction as uniform
            else:
                nn.init.normal_(p, std=0.5 if name == "wte.weight" else 0.5 * p.size(1) ** -0.5)

    def matrices(self):
        """The 2-D weights inside the blocks: what Muon trains, and the N of 6N flops a token."""
        return [p for p in self.blocks.parameters() if p.ndim == 2]

    def new_cache(self, batch, dtype):
        """Room for block_size tokens, their keys and values, and the states that the convolutions look back on; "pos" are in use."""
        c, device = self.config, self.cos.device
        keys = torch.zeros(c.n_layer, batch, 2 * c.n_head, c.block_size, c.n_embd // c.n_head, dtype=dtype, device=device)
        past = torch.zeros(c.n_layer, 2, batch, c.conv - 1 + c.block_size, c.n_embd, dtype=dtype, device=device)
        return {"kv": keys, "past": past, "pos": 0}

    def states(self, idx, cache=None, layer=None):
        """(B, T) tokens -> (B, T, n_embd) normalised states after `layer` blocks, all by default.

        With a cache (see new_cache) idx are the tokens that follow its first cache["pos"], which grows by T; lower it to take tokens back.
        """
        (B, T), c = idx.shape, self.config
        assert layer is None or 0 <= layer <= c.n_layer, f"layer {layer} of {c.n_layer}"
        pos = cache["pos"] if cache else 0
        assert pos + T <= c.block_size, f"tokens {pos} to {pos + T} of a context of {c.block_size}"
        x, cos, sin = norm(self.wte(idx)), self.cos[pos:pos + T], self.sin[pos:pos + T]
        for i, block in enumerate(self.blocks[:layer]):
            x = block(x, cos, sin, cache["kv"][i], cache["past"][i], pos) if cache else block(x, cos, sin)
        if cache:
            cache["pos"] = pos + T
        return norm(x)

    def forward(self, idx, cache=None):
        """(B, T) tokens -> (B, T, 4) fp32 logits of the base that follows each."""
        return self.lm_head(self.states(idx, cache))[..., :N].float()


def base_nll(model, bases):
    """(B, T) bases -> (B, T) nats that each costs given those before it and the start symbol; 0 at N."""
    logits = model(F.pad(bases[:, :-1], (1, 0), value=N))
    return F.cross_entropy(logits.flatten(0, 1), bases.flatten(), ignore_index=N, reduction="none").view_as(bases)


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
