"""A module of the user's own as blocks: traced, or a list of its modules that the scenario declares."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hybridsplit.runtime.models.blocks import Block
from hybridsplit.runtime.models.facts import Sample
from hybridsplit.runtime.models.own import WHERE, own_model
from hybridsplit.runtime.models.own_outputs import described, logits_of
from hybridsplit.runtime.models.traced.decompose import blocks_between, trace
from hybridsplit.runtime.models.traced.positions import missing_positions
from hybridsplit.runtime.models.traced.record import UntraceableError
from hybridsplit.runtime.models.traced.scenario import check_length
from hybridsplit.runtime.models.untied import untie, untie_tables
from hybridsplit.scenarios.errors import ProfileError, ScenarioError
from hybridsplit.scenarios.schema import Scenario
from hybridsplit.scenarios.scores import SINGLE_LABEL
from hybridsplit.scenarios.shown import shown
from hybridsplit.scenarios.user_code import UserFunction

_EXAMPLES = 2
_SAME = 1e-3
"""How far the logits of declared blocks may be from those of the module's own forward pass."""
_ADVICE = (
    "write it without decisions by values of tensors, or name its modules in order under model.blocks (see "
    "docs/own-model-and-data.md)"
)


class OwnBlock(Block):
    """A module of the user's own that is a block as it stands.

    Parameters
    ----------
    module
        It takes the activation, and the attention mask if it takes two values.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._takes_mask = _takes_two(module)

    @property
    def kind(self) -> str:
        """Name shared by modules of the same classes and settings."""
        settings = [
            (name, type(module).__qualname__, sorted((k, repr(v)) for k, v in vars(module).items() if _is_plain(v)))
            for name, module in self.module.named_modules()
        ]
        return f"{type(self.module).__name__}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"

    def forward(self, x: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Map an activation to the next, each in the shape that the module has it in."""
        return cast("Tensor", self.module(x, mask_BS) if self._takes_mask and mask_BS is not None else self.module(x))


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool))


@dataclass(frozen=True)
class _Built:
    """A module of the user's on its way to blocks."""

    scenario: Scenario
    sample: Sample
    user: UserFunction

    def example(self, batch_size: int) -> tuple[Tensor, Tensor | None]:
        """A batch on the meta device, and its mask."""
        x = torch.empty(batch_size, *self.sample.shape, dtype=self.sample.dtype, device="meta")
        mask = torch.empty(x.shape[:2], dtype=torch.bool, device="meta") if self.sample.is_padded else None
        return x, mask

    def call(self, model: nn.Module) -> Callable[[Tensor, Tensor | None], Any]:
        """Return the module's forward pass as a function of batch and mask that gives its logits."""
        takes_mask = _takes_two(model)
        is_image = self.scenario.model.task == "image-classification"

        def forward(x: Tensor, mask: Tensor | None) -> Any:
            if isinstance(model, PreTrainedModel):
                words = {"pixel_values": x} if is_image else {"input_ids": x}
                outputs = model(**words) if mask is None else model(**words, attention_mask=mask.long())
            else:
                outputs = model(x, mask) if takes_mask and mask is not None else model(x)
            return logits_of(outputs)

        return forward

    def check(self, model: nn.Module, forward: Callable[[Tensor, Tensor | None], Any]) -> None:
        """Run a forward pass of shapes: it must work, know all tokens, and give logits for all classes."""
        x, mask = self.example(_EXAMPLES)
        tables = _tables_that_read(x, model)
        was_training = model.training
        try:
            running = self.user.running(WHERE, f"the forward pass for inputs of shape {list(x.shape)}")
            with running, torch.no_grad(), torch.device("meta"):
                logits = forward(x, mask)
        except ScenarioError as error:
            if "meta tensor" not in str(error):
                raise
            raise ScenarioError(f"{error} (it is run for shapes, without values): {_ADVICE}") from error
        finally:
            model.train(was_training)
            sizes = tables()
        task, largest = self.scenario.model.task, self.sample.largest_token
        if largest is not None and any(size <= largest for size in sizes):
            raise ScenarioError(
                f"{WHERE}: the embedding of {self.user.function} has {min(sizes)} rows; the data have the token "
                f"{largest}: needs at least {largest + 1}"
            )
        is_language = task == "causal-lm"
        needed = "[batch, tokens, vocabulary]" if is_language else "[batch, classes]"
        lead = [_EXAMPLES, *self.sample.shape[:1]] if is_language else [_EXAMPLES]
        if not isinstance(logits, Tensor) or logits.ndim != len(lead) + 1 or list(logits.shape[:-1]) != lead:
            raise ScenarioError(
                f"{WHERE}: {self.user.function} gives {described(logits)} for a batch of {_EXAMPLES}; needs logits "
                f"{needed}, or a value that has them as the attribute or the key 'logits'"
            )
        classes = (largest or 0) + 1 if is_language else self.sample.num_classes
        if self.scenario.model.problem_type != SINGLE_LABEL and logits.shape[-1] != classes:
            raise ScenarioError(
                f"{WHERE}: {self.user.function} gives {logits.shape[-1]} outputs a sample; the data have {classes} "
                f"labels or numbers ({self.scenario.model.problem_type}): needs one output for each"
            )
        if logits.shape[-1] < classes:
            what = f"tokens up to {classes - 1}" if is_language else f"{classes} classes"
            each = "token" if is_language else "sample"
            raise ScenarioError(
                f"{WHERE}: {self.user.function} gives {logits.shape[-1]} logits a {each}; the data have "
                f"{what}: needs at least {classes}"
            )


def own_blocks(scenario: Scenario, sample: Sample, *, meta: bool) -> tuple[nn.Module, list[Block]]:
    """Return a module of the user's own, and its blocks.

    Parameters
    ----------
    scenario
        Names the function and, where they are declared, the blocks.
    sample
        What the data's samples are like.
    meta
        Shapes alone, on the meta device.

    Raises
    ------
    ScenarioError
        As :func:`own_model`; if the forward pass fails or does not fit the data, or declared blocks are not there.
    ProfileError
        If the forward pass cannot be traced, or has no valid cut.
    """
    built = _Built(scenario, sample, UserFunction.parsed(str(scenario.model.python)))
    shapes = own_model(scenario, meta=True)
    model = shapes if meta else own_model(scenario, meta=False)
    if scenario.model.blocks is not None:
        return model, _declared(built, model, shapes, scenario.model.blocks)
    untie_tables(shapes)
    if model is not shapes:
        untie_tables(model)
    return model, list(_traced(built, model, shapes))


def _traced(built: _Built, model: nn.Module, shapes: nn.Module) -> list[Block]:
    named = f"model.python: the forward pass of {type(shapes).__name__}"
    forward = built.call(shapes)
    shapes.eval()
    built.check(shapes, forward)
    try:
        traced = trace(shapes, forward, built.example)
    except UntraceableError as error:
        raise ProfileError(f"{named} cannot be traced: {error}; {_ADVICE}") from error
    except Exception as error:  # whatever a model raises for shapes without values
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ProfileError(f"{named} cannot be traced: {reason}; {_ADVICE}") from error
    if built.sample.largest_token is not None:
        length = built.scenario.training.sequence_length or 0
        check_length(built.scenario, length - missing_positions(traced.program, shapes, 1, length))
    if not traced.cuts:
        raise ProfileError(
            f"{named} has no place where a few tensors carry everything onward, so there is no cut; {_ADVICE}"
        )
    return list(blocks_between(traced, traced.cuts, model))


def _declared(built: _Built, model: nn.Module, shapes: nn.Module, names: tuple[str, ...]) -> list[Block]:
    of_shapes = _blocks_named(shapes, names)
    untie(of_shapes)
    chain = nn.ModuleList(of_shapes).eval()

    def forward(x: Tensor, mask: Tensor | None) -> Tensor:
        for block in chain:
            x = block(x, mask)
        return x

    built.check(chain, forward)
    if model is shapes:
        return of_shapes
    blocks = _blocks_named(model, names)
    _compare(built, model, blocks)
    untie(blocks)
    return blocks


def _compare(built: _Built, model: nn.Module, blocks: list[Block]) -> None:
    """Refuse blocks that do not compute what the module's own forward pass does, where it has one."""
    if type(model).forward is nn.Module.forward:
        return
    generator = torch.Generator().manual_seed(0)
    shape = (_EXAMPLES, *built.sample.shape)
    is_number = built.sample.dtype.is_floating_point
    x = torch.randn(shape, generator=generator) if is_number else torch.zeros(shape, dtype=built.sample.dtype)
    x = x.to(built.sample.dtype)
    mask = torch.ones(shape[:2], dtype=torch.bool) if built.sample.is_padded else None
    was_training = model.training
    model.eval()
    try:
        with built.user.running(WHERE, "the forward pass"), torch.no_grad():
            whole = built.call(model)(x, mask)
            chained = x
            for block in blocks:
                chained = block(chained, mask)
    finally:
        model.train(was_training)
    if not torch.allclose(whole, chained, rtol=_SAME, atol=_SAME):
        raise ScenarioError(
            f"model.blocks: {', '.join(built.scenario.model.blocks or ())}, executed in order, give other logits than "
            f"the forward pass of {type(model).__name__} (apart by {float((whole - chained).abs().max()):.3g}): what "
            "happens between them, as an addition, is left out; put it into a module, or remove the key"
        )


def _blocks_named(model: nn.Module, names: tuple[str, ...]) -> list[Block]:
    known = dict(model.named_modules())
    for index, name in enumerate(names):
        if not name or name not in known:
            offered = [child for child, _ in model.named_children()]
            raise ScenarioError(
                f"model.blocks.{index}: found {shown(name)}, which names no module of {type(model).__name__}; it has "
                f"{', '.join(offered[:12])}, and what is inside them as in 'layers.0'"
            )
        for earlier in names[:index]:
            if name == earlier or name.startswith(f"{earlier}.") or earlier.startswith(f"{name}."):
                raise ScenarioError(
                    f"model.blocks.{index}: found {shown(name)}, which shares modules with {shown(earlier)}; each "
                    "module can be in one block"
                )
    left_out = [
        name for name, _ in model.named_parameters() if not any(name.startswith(f"{block}.") for block in names)
    ]
    if left_out:
        raise ScenarioError(
            f"model.blocks: {len(left_out)} parameters ({', '.join(left_out[:4])}) are in none of these blocks, and "
            "would not be trained; name the modules that hold them, in the order of use"
        )
    return [OwnBlock(known[name]) for name in names]


def _takes_two(module: nn.Module) -> bool:
    """Whether a module's forward takes a second value by position: the attention mask."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(by_position) > 1 and "mask" in by_position[1].name


def _tables_that_read(x: Tensor, model: nn.Module) -> Callable[[], list[int]]:
    """Watch which embeddings are asked for the input itself; what is returned ends it and gives their rows."""
    found: list[int] = []

    def watch(module: Any, inputs: tuple[Any, ...]) -> None:
        if inputs and inputs[0] is x:
            found.append(module.num_embeddings)

    handles = [m.register_forward_pre_hook(watch) for m in model.modules() if isinstance(m, nn.Embedding)]

    def end() -> list[int]:
        for handle in handles:
            handle.remove()
        return found

    return end
