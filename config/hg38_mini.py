# For quick iteration: 10.6M parameters in matrices, 1,024 bases of context, half a pass of hg38's
# training chromosomes.
# One RTX 4090: about 50 minutes, 4 GB (estimates; one H200 held 8.0 GB with 64 windows).
# Loss: not measured at this length. After 26 million bases, in steps of 2**16, the model before
# the stem had 1.72 bits per base on a piece of chr10 (experiments/LOG.md).
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
