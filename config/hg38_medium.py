# A larger model: 350M parameters in matrices, 1,024 bases of context, two passes of hg38's training
# chromosomes (4.3 billion bases).
# Two 24 GB cards such as RTX 4090s: about a day and 16 GB each (estimates).
# Loss: not measured.
out_dir = "out-medium"
dataset = "hg38"
block_size = 1024
n_layer = 22
n_head = 9
n_embd = 1152
batch_tokens = 2**20
batch_size = 8
max_iters = 4100
eval_interval = 200
