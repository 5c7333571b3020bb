"""The optimisers of a GPT: Muon for the matrices, AdamW for the rest, and the schedule of their
learning rates.
"""

import torch


def orthogonalize(G, steps=5):
    """(K, rows, cols) -> about U V^T of each matrix, where U S V^T is its SVD.

    Newton-Schulz iteration with the quintic of Jordan et al. (2024), "Muon": singular values end
    near 1, not at it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = G.size(-2) > G.size(-1)
    X = G.mT if tall else G
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)  # b A + c A A
        X = torch.baddbmm(X, B, X, beta=a)  # a X + B X
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """SGD with momentum whose update matrices are orthogonalised (Jordan et al., 2024).

    params: 2-D weights. qkv: those of them that are three matrices, of queries, keys and values,
    one above the other: each is orthogonalised by itself. dtype: of the orthogonalisation.
    Matrices of the same shape go through it together.
    """

    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0, dtype=torch.float32, qkv=()):
        self.qkv = {id(p) for p in qkv}
        self.dtype = dtype
        by_shape = {}
        for p in params:
            by_shape.setdefault((p.shape, id(p) in self.qkv), []).append(p)
        groups = [{"params": group} for group in by_shape.values()]
        super().__init__(groups, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            self.step_group(group["params"], group["lr"], group["momentum"], group["weight_decay"])

    def step_group(self, params, lr, momentum, weight_decay):
        """One step of same-shaped parameters."""
        updates = []
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
            buffer = self.state[p]["momentum"]
            buffer.lerp_(p.grad, 1 - momentum)
            updates.append(p.grad.lerp(buffer, momentum))  # Nesterov's look ahead
        orthogonal = orthogonalize(self.stack(updates, params))
        rows, cols = orthogonal.shape[-2:]
        scale = max(1, rows / cols) ** 0.5  # a tall matrix takes a larger step, as in Jordan's code
        for p, update in zip(params, orthogonal.view(len(params), -1, cols).type_as(params[0])):
            p.mul_(1 - lr * weight_decay)
            p.add_(update, alpha=-lr * scale)

    def stack(self, tensors, params):
        """Tensors of same-shaped parameters, one of each -> (K, rows, cols) in self.dtype, those of
        qkv cut in three.
        """
        stacked = torch.stack(tensors).to(self.dtype)
        rows, cols = stacked.shape[-2:]
        if id(params[0]) in self.qkv:
            rows = rows // 3
        return stacked.view(-1, rows, cols)


def matrix_optimizer(model, lr, weight_decay, precision):
    """What trains model.matrices(): to try another optimiser, return it here.

    weight_decay: decoupled. precision: what the model computes in, a torch.dtype.
    """
    qkv = [p for name, p in model.named_parameters() if name.endswith("qkv.weight")]
    dtype = torch.bfloat16 if precision == torch.bfloat16 else torch.float32
    return Muon(model.matrices(), lr, weight_decay=weight_decay, dtype=dtype, qkv=qkv)


class Optimizers:
    """The optimisers of a model: that of its matrices, and AdamW for all the rest.

    learning_rate, weight_decay, precision: as matrix_optimizer has them. head_lr: AdamW's for the
    output layer. embed_lr: AdamW's for the rest, the embedding and the stem's detectors.
    """

    def __init__(self, model, learning_rate, embed_lr, head_lr, weight_decay, precision):
        head = [model.lm_head.weight]
        elsewhere = {id(p) for p in (*model.matrices(), *head)}
        others = [p for p in model.parameters() if id(p) not in elsewhere]
        self.of_matrices = matrix_optimizer(model, learning_rate, weight_decay, precision)
        self.adam = torch.optim.AdamW(
            [dict(params=others, lr=embed_lr), dict(params=head, lr=head_lr)],
            betas=(0.9, 0.95),
            weight_decay=0.0,
            fused=head[0].device.type in ("cuda", "cpu"),
        )
        self.weight_decay = weight_decay
        self.all = [self.of_matrices, self.adam]
        self.full_rates = [[group["lr"] for group in opt.param_groups] for opt in self.all]

    def set_rate(self, factor):
        """Set every learning rate to its full value times factor."""
        for opt, rates in zip(self.all, self.full_rates):
            for group, rate in zip(opt.param_groups, rates):
                group["lr"] = rate * factor

    def unscale(self, scaler):
        """Divide the gradients by the factor with which float16's loss was scaled."""
        for opt in self.all:
            scaler.unscale_(opt)

    def step(self):
        for opt in self.all:
            opt.step()

    def zero_grad(self):
        for opt in self.all:
            opt.zero_grad()

    def state_dict(self):
        return [dict(opt.state_dict(), kind=type(opt).__name__) for opt in self.all]

    def load_state_dict(self, states):
        """Raises ValueError at the states of other optimisers."""
        for opt, state in zip(self.all, states, strict=True):
            kind = type(opt).__name__
            if state.get("kind", kind) != kind:  # an older checkpoint does not say
                raise ValueError(f"it was trained by {state['kind']}, not {kind}")
            opt.load_state_dict(state)
        # Momentum and betas are now the checkpoint's, so that its run goes on as it was. The rates
        # follow from the settings at each step (set_rate), and so must weight_decay.
        for group in self.of_matrices.param_groups:
            group["weight_decay"] = self.weight_decay


def schedule(step, max_iters, warmup, cooldown):
    """The share of the full learning rate at a step: up, flat, then linearly down to zero.

    warmup, cooldown: shares of max_iters. The rise takes at least 3 steps: after a first step at
    the full rate the loss of a wide model stood above 2 bits for a few steps more.
    """
    rising = (step + 1) / max(3, warmup * max_iters)
    falling = (max_iters - step) / max(1, cooldown * max_iters)
    return min(1.0, rising, falling)
