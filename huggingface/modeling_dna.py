"""The GPT of model.py, as transformers expects a model to be.

All computing is in model.py, which lies beside this file, unchanged. Works with transformers 4.57
and 5.
"""

import torch
import torch.nn.functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from .model import GPT, GPTConfig, N

IGNORED = -100  # a label that costs nothing, by transformers' convention


class DNAConfig(PretrainedConfig):
    """gpt: the fields of a GPTConfig, a dict."""

    model_type = "nanogpt_dna"

    def __init__(self, gpt=None, **kwargs):
        self.gpt = gpt or {}
        shape = GPTConfig(**self.gpt)
        # the same under the names that other tools look for
        self.hidden_size = shape.n_embd
        self.num_hidden_layers = shape.n_layer
        self.num_attention_heads = shape.n_head
        self.max_position_embeddings = shape.block_size
        self.vocab_size = N + 1
        super().__init__(**kwargs)


class DNAModel(PreTrainedModel):
    """The states alone, for probes: AutoModel.from_pretrained(...)."""

    config_class = DNAConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.gpt = GPT(GPTConfig(**config.gpt))
        # transformers builds a model without memory and fills in what the file holds, so the tables
        # of the rotary embedding, which model.py computes and does not save, are in the file too
        self.gpt.register_buffer("cos", self.gpt.cos)
        self.gpt.register_buffer("sin", self.gpt.sin)
        self.post_init()

    def _init_weights(self, module):
        """Nothing: model.py has drawn its weights."""

    def check(self, input_ids, attention_mask):
        """Raise ValueError at what the model cannot read: too many tokens, padding before the DNA,
        or weights that are not float32.
        """
        block_size = self.config.max_position_embeddings
        if input_ids.size(1) > block_size:
            raise ValueError(
                f"{input_ids.size(1)} tokens, and this model reads at most {block_size}, the start "
                "symbol included: cut the DNA into windows"
            )
        if attention_mask is not None and (attention_mask[:, 1:] > attention_mask[:, :-1]).any():
            raise ValueError("padding before the DNA: this model has none, pad at the right")
        if self.gpt.wte.weight.dtype != torch.float32:
            raise ValueError("load the weights as float32; for half precision use torch.autocast")

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False, return_dict=True):
        """(B, T) tokens -> last_hidden_state, (B, T, n_embd) normalised states.

        hidden_states, if asked for: those after 0, 1, ... n_layer blocks; each is computed anew.
        attention_mask may be 0 at the right only, which changes nothing: a base never sees what
        follows it. Raises ValueError at what check() refuses.
        """
        self.check(input_ids, attention_mask)
        output = BaseModelOutput(last_hidden_state=self.gpt.states(input_ids))
        if output_hidden_states:
            output.hidden_states = self.all_states(input_ids)
        return output if return_dict else output.to_tuple()

    def all_states(self, input_ids):
        """(B, T) tokens -> n_layer + 1 tensors (B, T, n_embd), after 0, 1, ... n_layer blocks."""
        layers = range(self.config.num_hidden_layers + 1)
        return tuple(self.gpt.states(input_ids, layer=layer) for layer in layers)


class DNAForCausalLM(DNAModel, GenerationMixin):
    """The model with its predictions: AutoModelForCausalLM.from_pretrained(...)."""

    def forward(
        self,
        input_ids,
        attention_mask=None,
        labels=None,
        output_hidden_states=False,
        return_dict=True,
    ):
        """(B, T) tokens -> logits (B, T, 5) of the token that follows each, and what is asked for.

        labels: (B, T) tokens, input_ids as a rule. They are shifted here, as transformers does:
        loss is the mean nats of labels[:, 1:], N and -100 not counted. hidden_states,
        attention_mask, and what is raised: as in DNAModel.
        """
        self.check(input_ids, attention_mask)
        letters = self.gpt(input_ids)  # (B, T, 4)
        # N is a token, so that logits have a place for each token; it is never predicted, so its
        # logit is minus infinity: sampling never draws it, and the softmax over A, C, G, T is ours
        output = CausalLMOutput(logits=F.pad(letters, (0, 1), value=-float("inf")))
        if labels is not None:
            following = labels[:, 1:].masked_fill(labels[:, 1:] == N, IGNORED)
            output.loss = F.cross_entropy(
                letters[:, :-1].flatten(0, 1), following.flatten(), ignore_index=IGNORED
            )
        if output_hidden_states:
            output.hidden_states = self.all_states(input_ids)
        return output if return_dict else output.to_tuple()

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **unused):
        """What forward gets when generate asks for the next token of each row.

        A row that is longer than the context is cropped: the start symbol and the last
        block_size - 1 bases are read. No keys and values are kept between tokens, so a long DNA
        takes time; sample.py of the project keeps them. Raises ValueError if rows are padded.
        """
        if attention_mask is not None and not attention_mask.all():
            raise ValueError("generate takes rows of equal length: no padding")
        block_size = self.config.max_position_embeddings
        if input_ids.size(1) > block_size:
            input_ids = F.pad(input_ids[:, -(block_size - 1) :], (1, 0), value=N)
        return {"input_ids": input_ids}
