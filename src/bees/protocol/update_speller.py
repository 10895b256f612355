"""How whoever trains spells an update, and what it remembers for the next: error feedback.

A difference of 16 or 8 bits says the trained words only nearly. What it leaves unsaid is added to the next round's
words before those are spelled, so that nothing is lost, only late (Seide et al., Interspeech 2014; Karimireddy et al.,
ICML 2019). The server that trains for an offloading device has a memory of its own: the two never met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.core.fixed_point import Words
    from bees.core.model import ModelDescription


class UpdateSpeller:
    """Spells the updates of many devices.

    Attributes:
        model: whose updates they are; it says how they are spelled.
        remembers: whether an update depends on the rounds before. Then nobody can go on from the middle of a run
            without spelling the rounds before it again.
    """

    def __init__(self, model: ModelDescription, *, feeds_back: bool) -> None:
        self.model = model
        self.remembers = feeds_back and model.update_encoding != "words"
        self._left_unsaid: dict[tuple[int, bool], NDArray[np.int64]] = {}

    def spell(self, device: int, words: Words, previous: Words, *, offloads: bool = False) -> bytes:
        """The bytes of the device's update.

        Args:
            device: u_k.
            words: as trained, shape (P,).
            previous: words of w_g(t-1), shape (P,).
            offloads: whether its server has trained them.

        Raises:
            WordRangeError: a word of the update would not fit 32 bits.
        """
        if not self.remembers:
            return self.model.spell_update(words, previous)
        meant = words + self._left_unsaid.get((device, offloads), np.int64(0))
        data = self.model.spell_update(meant, previous)
        self._left_unsaid[device, offloads] = meant - self.model.read_update(data, previous)
        return data
