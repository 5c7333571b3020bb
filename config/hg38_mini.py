# For quick iteration: 10.6M parameters in matrices, 1,024 bases of context, half a pass of hg38's training chromosomes.
# One RTX 4090: about half an hour, 6 GB (estimates). Loss at scale is not yet measured: a weak
# prediction from small runs says 1.77 bits per base on a piece of chr10 (EXPERIMENTS.md, "Loss over size and bases").
out_dir = "out-mini"
dataset = "hg38"
block_size = 1024
n_layer = 6
n_head = 3
n_embd = 384
batch_tokens = 2**19
batch_size = 32
max_iters = 2000
eval_interval = 100
