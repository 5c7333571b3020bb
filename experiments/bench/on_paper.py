"""Where the time of a training step should go: flops and bytes against a card's data sheet.

  python -m experiments.bench.on_paper            (85M parameters, 32 windows of 1,024)
  python -m experiments.bench.on_paper 4096 8     (8 windows of 4,096)

Forward and backward pass of one micro-batch, on an H200 and on an RTX 4090. A part takes the longer
of its flops at the card's matrix rate and its bytes at its bandwidth; a kernel that the compiler
fuses reads its inputs once and writes its outputs once. Backward: twice the flops (2.5 times for
attention, which computes its scores again) and twice the bytes.
"""

import sys

CARDS = {  # dense bfloat16 Tflop/s with float32 sums, memory TB/s: the makers' data sheets
    "H200": (989, 4.8),
    "RTX 4090": (165.2, 1.008),
}
LAYERS, WIDTH, DETECTORS, STEM_BASES = 12, 768, 512, 16
FLOAT32, BFLOAT16 = 4, 2  # bytes


def parts(tokens, block_size, residual):
    """[(part, flops, bytes)] of a forward pass over that many tokens; residual: bytes of a number
    of its stream.
    """
    d, wide = WIDTH, tokens * WIDTH
    state, half = wide * residual, wide * BFLOAT16
    one_hot = tokens * STEM_BASES * 4 * BFLOAT16
    detectors = tokens * DETECTORS * BFLOAT16
    layer = [
        ("norms", 0, 2 * (state + half)),
        ("matrices of qkv and out", 2 * tokens * 4 * d * d, half + 3 * half + half + half),
        ("QK-norm and rotation", 0, 2 * 2 * half),
        ("attention", 2 * tokens * block_size * d, 4 * half),  # causal: half of 4 T D
        ("matrices of the MLP", 2 * tokens * 8 * d * d, half + 4 * half + 4 * half + half),
        ("ReLU squared", 0, 2 * 4 * half),
        ("residual sums", 0, 2 * (2 * state + half)),
    ]
    rows = [(name, LAYERS * flops, LAYERS * size) for name, flops, size in layer]
    stem_flops = 2 * tokens * DETECTORS * (4 * STEM_BASES + d)
    rows.append(("embedding and stem", stem_flops, 2 * one_hot + 4 * detectors + 2 * state))
    rows.append(("output and loss", 2 * tokens * d * 8, state + half + tokens * 8 * 6 * FLOAT32))
    return rows


def both_passes(name, flops):
    """Flops of the forward and the backward pass of a part."""
    if name == "attention":
        return 3.5 * flops
    return 3 * flops


def milliseconds(name, flops, size, card):
    """Forward and backward pass of a part on a card."""
    tera, bandwidth = CARDS[card]
    return max(both_passes(name, flops) / tera, 3 * size / bandwidth) / 1e9


def main():
    block_size, windows = (int(word) for word in sys.argv[1:3]) if sys.argv[1:] else (1024, 32)
    tokens = block_size * windows
    print(f"{windows} windows of {block_size}, forward and backward pass, milliseconds at best")
    print(f"{'':28}{'Gflop':>10}{'GB':>8}" + "".join(f"{card:>12}" for card in CARDS))
    totals = dict.fromkeys(CARDS, 0.0)
    for name, flops, size in parts(tokens, block_size, FLOAT32):
        line = f"{name:28}{both_passes(name, flops) / 1e9:10,.0f}{3 * size / 1e9:8.1f}"
        for card in CARDS:
            time = milliseconds(name, flops, size, card)
            totals[card] += time
            line += f"{time:12.2f}"
        print(line)
    print(f"{'sum':46}" + "".join(f"{total:12.2f}" for total in totals.values()))
    in_half = parts(tokens, block_size, BFLOAT16)
    saved = {c: totals[c] - sum(milliseconds(*part, c) for part in in_half) for c in CARDS}
    print(f"{'saved by a bfloat16 residual':46}" + "".join(f"{t:12.2f}" for t in saved.values()))
    speeds = "".join(f"{tokens / totals[card] * 1e3:12,.0f}" for card in CARDS)
    print(f"{'bases a second':46}{speeds}")


if __name__ == "__main__":
    main()
