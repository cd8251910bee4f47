"""Keys of a configuration that this training replaces: refused where results would differ, set where they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hybridsplit.runtime.models.stated import occurrences
from hybridsplit.scenarios.errors import ScenarioError
from hybridsplit.scenarios.schema import Model
from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.shown import shown

_QUANTISED = "weights are trained as floating-point numbers, and a plan for packed ones would be wrong"
_CHOSEN_HERE = "kernels are chosen here, so that the memory predicted is the memory used, and none is fetched"
_REFUSED = {
    "quantization_config": f"{_QUANTISED}: give the model as it was before quantisation",
    "compression_config": f"{_QUANTISED}: give the model as it was before compression",
    "output_router_logits": "the loss is cross-entropy alone, without a term that balances experts: remove the key",
    "label_smoothing": "the loss is plain cross-entropy: remove the key",
    "label_smoothing_factor": "the loss is plain cross-entropy: remove the key",
    "loss_type": "the loss is cross-entropy: remove the key",
}
_REFUSED_BY_VALUE = {
    "attn_implementation": f"{_CHOSEN_HERE}: remove the key",
    "experts_implementation": f"{_CHOSEN_HERE}: remove the key",
    "is_encoder_decoder": "the family decides whether it has an encoder: remove the key",
    "use_pretrained_backbone": "a model by value draws its weights from the seed: remove the key",
}
EXPERTS = "batched_mm"
"""Kernel of experts: one product of a batch of matrices, whose steps do not depend on what the router chooses."""


def refuse_other_mathematics(stated: Mapping[str, Any], model: Model, where: str, *, by_value: bool) -> None:
    """Refuse keys that ask for other mathematics than this training's.

    Parameters
    ----------
    stated
        Keys and values of a configuration, nested ones included, as the user or a checkpoint states them.
    model
        The scenario's model section.
    where
        Path of the keys up to their names, for the message.
    by_value
        Whether a scenario states them; a checkpoint may also state what has no effect here.

    Raises
    ------
    ScenarioError
        If there is such a key; the message says what is done instead.
    """
    for key, reason in {**_REFUSED, **(_REFUSED_BY_VALUE if by_value else {})}.items():
        for path, value in occurrences(stated, key):
            raise ScenarioError(f"{where}{path}: found {shown(value)}; {reason}")
    if model.task == "causal-lm":
        return
    for path, value in occurrences(stated, "problem_type"):
        if value != model.problem_type:
            raise ScenarioError(
                f"{where}{path}: found {shown(value)}; the loss is that of model.problem_type, which is "
                f"{model.problem_type!r}: state {shown(value)} there, or remove this key"
            )


def check_head(config: Any, model: Model, where: str) -> None:
    """Refuse a head that the loss cannot train, and a language model that sees what it is to predict.

    Parameters
    ----------
    config
        A transformers configuration.
    model
        The scenario's model section.
    where
        Path of its keys up to their names, for the message.

    Raises
    ------
    ScenarioError
        If there is one class, or an encoder is to be a language model without ``is_decoder``.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    if model.task != "causal-lm":
        if config.num_labels < 2 and model.problem_type == SINGLE_LABEL:
            raise ScenarioError(
                f"{where}num_labels: found {config.num_labels}, which transformers takes for a regression; the loss "
                "is cross-entropy over classes: state 2 or more, or model.problem_type: regression"
            )
        if config.model_type == "bert" and getattr(config, "is_decoder", False):
            raise ScenarioError(
                f"{where}is_decoder: found True; the blocks of bert read a text in both directions: remove the key"
            )
    elif config.model_type in MASKED and getattr(config, "is_decoder", None) is False:
        raise ScenarioError(
            f"{where}is_decoder: found False; {config.model_type} then sees the tokens that it is to predict: state "
            "is_decoder: true"
        )


def settle(configurations: Iterable[Any], *, untied: bool) -> None:
    """Set what is the same for every model: no dropout, no noise, no cache, plain outputs, and kernels chosen here.

    Parameters
    ----------
    configurations
        A transformers configuration and all that are nested in it; changed.
    untied
        Whether embeddings are untied from heads already in the configuration.
    """
    for config in configurations:
        for name, value in list(vars(config).items()):
            # Without dropout modes compare, and a probe differs from its anchor by the probe alone.
            if "drop" in name or "jitter" in name:
                setattr(config, name, _zero(value))
        config.use_cache = False
        config.return_dict = True
        config.output_hidden_states = False
        config._output_attentions = False
        config._attn_implementation_internal = None
        config._experts_implementation_internal = EXPERTS
        if hasattr(config, "rescale_every"):
            # RWKV divides its own weights in evaluation; the results are the same without.
            config.rescale_every = 0
        if untied:
            # A head tied to the embedding would live on both sides of every cut. A checkpoint, which stores one copy,
            # is untied after loading.
            config.tie_word_embeddings = False


def _zero(value: Any) -> Any:
    """A rate, or rates in a list, as zero; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return type(value)(_zero(item) for item in value)
    is_rate = isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value)(0) if is_rate else value
