"""The recipe, one switch at a time: each variant is some settings, or a part exchanged.

A part is exchanged by plain Python: a subclass put in the place of the class in model.py, or a
function in the place of one. `python -m experiments.ablate` trains them beside each other.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

import model
import optim
import train
from model import LETTERS, MLP, Attention, Block, N, Stem, norm, relu2, rotate


@dataclass
class Variant:
    """words: for train.py's command line. change: a function to call before training, or None."""

    words: list = field(default_factory=list)
    change: object = None


VARIANTS = {"baseline": Variant()}


def setting(name, **values):
    """A variant that is only settings."""
    VARIANTS[name] = Variant([f"--{key}={value}" for key, value in values.items()])


def variant(name, **values):
    """Decorator of a function that changes the model; values: settings that go with it."""

    def add(change):
        words = [f"--{key}={value}" for key, value in values.items()]
        VARIANTS[name] = Variant(words, change)
        return change

    return add


# ---- settings

for rate in (0.005, 0.01, 0.03, 0.04, 0.06, 0.08):
    setting(f"muon {rate}", learning_rate=rate)
for rate in (0.005, 0.01, 0.04, 0.08):
    setting(f"embed_lr {rate}", embed_lr=rate)
for rate in (0.001, 0.01, 0.03):
    setting(f"head_lr {rate}", head_lr=rate)
for share in (0.2, 0.45, 0.95):
    setting(f"cooldown {share}", cooldown=share)
for share in (0.5, 0.1, 0):
    setting(f"repeats weigh {share}", repeat_weight=share)
for share in (0.1, 0.2):
    setting(f"dropout {share}", dropout=share)
for context in (256, 1024, 2048):
    setting(f"context {context}", block_size=context, batch_size=8192 // context)
for heads in (1, 4):
    setting(f"{heads} heads", n_head=heads)
for layers, width, heads in ((2, 160, 2), (6, 96, 2), (12, 64, 1)):  # about the weights of 3 x 128
    setting(f"{layers} layers of {width}", n_layer=layers, n_embd=width, n_head=heads)
setting("no clipping", grad_clip=0)
setting("weight decay 0.1", weight_decay=0.1)
setting("warmup 0.1", warmup=0.1)
setting("no reverse complements", rc=0)
setting("batches of 4,096", batch_tokens=4096, batch_size=8, max_iters=600, eval_interval=600)


# ---- the stem

for bases in (4, 8, 12, 24, 32):
    setting(f"stem of {bases} bases", stem_bases=bases)
for width in (128, 256, 1024, 2048):
    setting(f"stem of {width} detectors", stem_width=width)


@variant("no stem")
def no_stem():
    class NoStem(Stem):
        def forward(self, tokens):
            # so that its weights have gradients
            used = 0 * (self.detect.weight.sum() + self.out.weight.sum())
            return used.expand(tokens.size(0), tokens.size(1) - self.bases + 1, 1)

    model.Stem = NoStem


class MuonStem(model.GPT):
    """The detectors, too, are trained by Muon."""

    def matrices(self):
        return [*super().matrices(), self.stem.detect.weight]


@variant("stem's detectors by Muon")
def muon_stem():
    train.GPT = MuonStem


for start in (0.05, 0.5):

    @variant(f"stem starts at {start}")
    def stem_starts_at(start=start):
        model.Stem.INIT_STD = start


class NormedStem(Stem):
    """What the detectors find is normalised before the ReLU."""

    def forward(self, tokens):
        windows = tokens.unfold(1, self.bases, 1)
        one_hot = windows[..., None] == torch.arange(LETTERS, device=tokens.device)
        matches = self.detect(one_hot.flatten(2).to(self.detect.weight.dtype))
        return self.out(relu2(norm(matches)))


@variant("stem normalised")
def normed_stem():
    model.Stem = NormedStem


class StemBeforeNorm(model.GPT):
    """The sum of embedding and stem is normalised, not the embedding alone."""

    def embed(self, idx, cache=None):
        tokens = F.pad(idx, (self.config.stem_bases - 1, 0), value=N)
        return norm(self.wte(idx) + self.stem(tokens))


@variant("stem before the norm")
def stem_before_norm():
    train.GPT = StemBeforeNorm


class ShiftedKeys(Attention):
    """Half of each key is that of the base before, so that a key tells what came before a base, its
    value what it is.
    """

    def forward(self, x, cos, sin, cache=None):
        B, T, D = x.shape
        heads = self.qkv(x).view(B, T, 3 * self.n_head, D // self.n_head).transpose(1, 2)
        qk, v = heads.split((2 * self.n_head, self.n_head), 1)
        q, k = rotate(norm(qk), cos, sin).type_as(v).chunk(2, 1)
        before = F.pad(k[:, :, :-1], (0, 0, 1, 0))
        parts = []  # half of each half, so that the pairs of the rotation stay together
        for own, previous in zip(k.chunk(2, -1), before.chunk(2, -1)):
            half = own.size(-1) // 2
            parts += [previous[..., :half], own[..., half:]]
        y = F.scaled_dot_product_attention(q, torch.cat(parts, -1), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, D))


@variant("half of each key from the base before")
def shifted_keys():
    model.Attention = ShiftedKeys


# ---- convolutions, as they were in every block before the stem


def convolve(x, weight):
    """x (B, T, D) plus, of each channel apart, weight[j] (D,) times the state len(weight) - j bases
    before.
    """
    K, T = len(weight), x.size(1)
    padded = F.pad(x, (0, 0, K, 0))
    for j in range(K):
        x = x + weight[j] * padded[:, j : j + T]
    return x


class ConvolvingBlock(Block):
    """A causal depthwise convolution over 8 bases before attention and before the MLP."""

    def __init__(self, config):
        super().__init__(config)
        self.attention_conv = nn.Parameter(torch.zeros(7, config.n_embd))
        self.mlp_conv = nn.Parameter(torch.zeros(7, config.n_embd))

    def forward(self, x, cos, sin, cache=None):
        x = x + self.attention(convolve(norm(x), self.attention_conv), cos, sin)
        return x + self.mlp(convolve(norm(x), self.mlp_conv))


class ConvolvingGPT(model.GPT):
    """A convolution's weights start at zero, and are AdamW's."""

    @staticmethod
    def init_weight(name, p):
        if name.endswith("_conv"):
            nn.init.zeros_(p)
        else:
            model.GPT.init_weight(name, p)

    def matrices(self):
        return [p for p in super().matrices() if p.size(0) != 7]


@variant("convolutions in all blocks, no stem")
def convolutions_no_stem():
    model.Block = ConvolvingBlock
    train.GPT = ConvolvingGPT
    no_stem()


@variant("convolutions in all blocks and the stem")
def convolutions_and_stem():
    model.Block = ConvolvingBlock
    train.GPT = ConvolvingGPT


# ---- the block


class BlockWithoutAttention(Block):
    def __init__(self, config):
        super().__init__(config)
        self.attention = None

    def forward(self, x, cos, sin, cache=None):
        return x + self.mlp(norm(x))


class NoAttentionFirst(model.GPT):
    """The first block is its MLP alone: what stands before a base the stem has told it."""

    def __init__(self, config):
        super().__init__(config)
        self.blocks[0] = BlockWithoutAttention(config)
        for name, p in self.blocks[0].named_parameters():
            self.init_weight(f"blocks.0.{name}", p)


@variant("no attention in the first block")
def no_attention_first():
    train.GPT = NoAttentionFirst


class NoQKNorm(Attention):
    def forward(self, x, cos, sin, cache=None):
        B, T, D = x.shape
        heads = self.qkv(x).view(B, T, 3 * self.n_head, D // self.n_head).transpose(1, 2)
        qk, v = heads.split((2 * self.n_head, self.n_head), 1)
        q, k = rotate(qk.float(), cos, sin).type_as(v).chunk(2, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, D))


@variant("no QK-norm")
def no_qk_norm():
    model.Attention = NoQKNorm


@variant("no rotary positions")
def no_rotary_positions():
    model.rotate = lambda x, cos, sin: x


for base in (100, 1000):

    @variant(f"rotary base {base}")
    def rotary_base(base=base):
        model.ROTARY_BASE = base  # with a smaller base more channels turn fast


class ShiftedMLP(MLP):
    """A quarter of the channels that it reads are those of the base before (the token shift of
    RWKV, Peng et al., 2023).
    """

    def forward(self, x):
        moving, staying = x.tensor_split((x.size(-1) // 4,), -1)
        before = F.pad(moving[:, :-1], (0, 0, 1, 0))
        return super().forward(torch.cat((before, staying), -1))


@variant("each MLP reads a quarter from the base before")
def shifted_mlp():
    model.MLP = ShiftedMLP


@variant("GELU")
def gelu():
    model.relu2 = F.gelu


class SwiGLU(MLP):
    """A gated MLP (Shazeer, 2020), as many weights as the plain one."""

    def __init__(self, config):
        super().__init__(config)
        width = config.n_embd
        self.hidden = nn.Linear(width, 8 * width // 3, bias=False)
        self.gate = nn.Linear(width, 8 * width // 3, bias=False)
        self.out = nn.Linear(8 * width // 3, width, bias=False)

    def forward(self, x):
        return self.out(self.hidden(x) * F.silu(self.gate(x)))


@variant("SwiGLU")
def swiglu():
    model.MLP = SwiGLU


class WideMLP(MLP):
    def __init__(self, config):
        super().__init__(config)
        self.hidden = nn.Linear(config.n_embd, 8 * config.n_embd, bias=False)
        self.out = nn.Linear(8 * config.n_embd, config.n_embd, bias=False)


@variant("MLP of 8 widths")
def wide_mlp():
    model.MLP = WideMLP


# ---- the optimiser


def with_momentum(momentum):
    """A Muon with that momentum."""

    class OtherMuon(optim.Muon):
        def __init__(self, params, lr, **settings):
            super().__init__(params, lr, momentum=momentum, **settings)

    return OtherMuon


for momentum in (0.8, 0.95):

    @variant(f"Muon momentum {momentum}")
    def muon_momentum(momentum=momentum):
        optim.Muon = with_momentum(momentum)


for rate in (0.001, 0.002, 0.004):

    @variant(f"AdamW {rate} for the matrices", learning_rate=rate)
    def adamw_for_matrices():
        def adamw(model, lr, weight_decay, precision):
            matrices = model.matrices()
            return torch.optim.AdamW(matrices, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)

        optim.matrix_optimizer = adamw


POLAR_EXPRESS_4 = [  # best for singular values from 0.001
    (8.4703, -25.1081, 18.6293),
    (4.1828, -3.1087, 0.5806),
    (3.9619, -2.9541, 0.5630),
    (3.2866, -2.4647, 0.5074),
]


def orthogonalize_in_4(G):
    """optim.orthogonalize with four steps instead of five, each with the quintic that is best for
    what it is given.

    Amsel et al. (2025), "The Polar Express", arXiv:2505.16932.
    """
    tall = G.size(-2) > G.size(-1)
    X = G.mT if tall else G
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in POLAR_EXPRESS_4:
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)
        X = torch.baddbmm(X, B, X, beta=a)
    return X.mT if tall else X


@variant("Newton-Schulz in 4 steps (Polar Express)")
def polar_express():
    optim.orthogonalize = orthogonalize_in_4


class NorMuon(optim.Muon):
    """Muon whose update has rows of equal size over time (Li et al., 2025, "NorMuon")."""

    def step_group(self, params, lr, momentum, weight_decay):
        before = [p.clone() for p in params]
        super().step_group(params, lr, momentum, 0.0)
        for p, old in zip(params, before):
            update = p - old
            second = self.state[p].setdefault("second", torch.zeros_like(update[:, :1]))
            second.lerp_(update.square().mean(-1, keepdim=True), 0.05)
            evened = update * (second + 1e-20).rsqrt()
            evened = evened * (update.norm() / (evened.norm() + 1e-12))
            p.copy_(old * (1 - lr * weight_decay) + evened)


@variant("normalised rows (NorMuon)")
def normuon():
    optim.Muon = NorMuon


# ---- what is learned from


def spectral_loss(nll, is_base, longest=20, shortest=6):
    """1 - the share of the spectrum of predicted probabilities that has the periods of motifs, for
    each window: (B,).

    nll, is_base: (B, T). The probability of each true base, along a window, is taken apart into
    periods; those of 6 to 20 bases count whole, others by 1 / (1 + d^5) at d cycles from them. This
    is the regulariser of ARSENAL (Patel and Kundaje, bioRxiv 2026.02.05.703637), which is a masked
    model; for a causal one the first eighth of a window, hard to predict for any, is left out.
    """
    skip = nll.size(1) // 8
    p = torch.exp(-nll)[:, skip:]
    is_base = is_base[:, skip:]
    mean = (p * is_base).sum(1, keepdim=True) / is_base.sum(1, keepdim=True).clamp(min=1)
    p = torch.where(is_base, p - mean, 0.0)  # what is no base has no period
    T = p.size(1)
    magnitude = torch.fft.rfft(p).abs()[:, 1:]
    cycles = torch.arange(1, magnitude.size(1) + 1, device=p.device)
    distance = (T // longest + 1 - cycles).clamp(min=0) + (cycles - T // shortest).clamp(min=0)
    weights = 1 / (1 + distance.float() ** 5)
    return 1 - (magnitude * weights).sum(1) / magnitude.sum(1).clamp(min=1e-6)


def spectral(strength):
    """A variant that adds strength x spectral_loss, the mean over the step's windows."""

    @variant(f"spectral {strength}")
    def change():
        plain = train.step_loss

        def step_loss(nll, raw, weight_sum):
            is_base = (raw & 7) < N
            enough = is_base.sum(1) > nll.size(1) / 4
            terms = spectral_loss(nll, is_base)[enough].sum()
            windows = train.batch_tokens / train.block_size
            return plain(nll, raw, weight_sum) + strength * terms / windows

        train.step_loss = step_loss


for strength in (0.002, 0.01, 0.05, 0.2):
    spectral(strength)
