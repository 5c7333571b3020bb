"""What score.py is made of: sequences and variants in, log-likelihoods and embeddings out."""
