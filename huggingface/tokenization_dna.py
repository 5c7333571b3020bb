"""One token a base: A 0, C 1, G 2, T 3, N 4. Works with transformers 4.57 and 5."""

from transformers import PreTrainedTokenizer

LETTERS = "ACGTN"
TOKENS = {letter: token for token, letter in enumerate(LETTERS)}
N = TOKENS["N"]


class DNATokenizer(PreTrainedTokenizer):
    """Lower-case letters are read as upper-case, anything but A, C, G and T as N.

    N is the start symbol too, put in front of every text, and what shorter rows are filled up with
    at the right.
    """

    model_input_names = ["input_ids", "attention_mask"]
    vocab_files_names = {}

    def __init__(self, **kwargs):
        for name in ("bos_token", "unk_token", "pad_token"):
            kwargs.setdefault(name, "N")
        kwargs.setdefault("padding_side", "right")
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return len(LETTERS)

    def get_vocab(self):
        return dict(TOKENS)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()  # no file: it is all here

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        """The start symbol, then the bases; those of a second text follow the first one's."""
        return [N, *token_ids_0, *(token_ids_1 or [])]

    def _tokenize(self, text, **kwargs):
        letters = (letter.upper() for letter in text)
        return [letter if letter in TOKENS else "N" for letter in letters]

    def _convert_token_to_id(self, token):
        return TOKENS.get(token, N)

    def _convert_id_to_token(self, index):
        return LETTERS[index]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def _decode(self, token_ids, skip_special_tokens=False, **kwargs):
        """Letters of the tokens. skip_special_tokens: without the start symbol, that is, without
        one N at the start; every other N is an unknown base.
        """
        token_ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        if skip_special_tokens and token_ids[:1] == [N]:
            token_ids = token_ids[1:]
        return self.convert_tokens_to_string([LETTERS[token] for token in token_ids])
