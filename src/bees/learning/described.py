"""A model from its description in a genesis: what a node scores with and a device trains, without the scenario."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.errors import InputError
from bees.learning.models import CNN, MLP

if TYPE_CHECKING:
    from bees.core.model import ModelDescription
    from bees.learning.models import Model

_MLP = re.compile(r"mlp-(\d{1,6})-(\d{1,6})-(\d{1,6})")
_CNN = re.compile(r"cnn-(\d{1,5})x(\d{1,5})x(\d{1,4})-8-16-(\d{1,6})")


def model_of(description: ModelDescription, own: str = "") -> Model:
    """The model that a genesis describes.

    Args:
        description: of the genesis.
        own: ``package.module:name`` of a model, or of a function that makes one; "": one of those that BEES has.

    Raises:
        InputError: there is none, or it is another model than described.
    """
    model = _load(own) if own else _built_in(description)
    wanted = replace(description, update_encoding="words")
    found = replace(model.description, update_encoding="words")
    if found != wanted:
        raise InputError(own or description.name, f"is {found.name}, but the genesis describes {wanted.name}")
    return model


def _built_in(description: ModelDescription) -> Model:
    mlp, cnn = _MLP.fullmatch(description.name), _CNN.fullmatch(description.name)
    if mlp:
        inputs, hidden, classes = map(int, mlp.groups())
        return MLP(inputs, hidden, classes, description.exponent)
    if cnn:
        height, width, channels, classes = map(int, cnn.groups())
        shape = (height, width) if channels == 1 else (height, width, channels)
        return CNN(shape, classes, description.exponent)
    problem = "is no model that BEES has; name your own as package.module:name"
    raise InputError(description.name, problem)


def _load(own: str) -> Model:
    module, colon, name = own.partition(":")
    if not colon:
        raise InputError(own, "must be package.module:name")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(own, f"cannot be loaded: {error}") from error
    model = found if hasattr(found, "logits") and not isinstance(found, type) else found()
    description = getattr(model, "description", None)
    if description is None or not description.arrays:
        raise InputError(own, "has no description; bees.learning.models.Model says what a model needs")
    return model
