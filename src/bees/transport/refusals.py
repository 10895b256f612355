"""Why an HTTP request is refused. Each refusal is a typed name and a status of the 400s; none costs the node much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bees.core.errors import RequestError


@dataclass(eq=False)
class MalformedRequestError(RequestError):
    """A part of the request that cannot be read."""


@dataclass(eq=False)
class NotAuthenticError(RequestError):
    """A request between servers that no registered server has signed, or not just now, or not for this one."""

    status: ClassVar[int] = 401


@dataclass(eq=False)
class NoOffloadingError(RequestError):
    """A request about offloading, at a node that trains for nobody."""

    status: ClassVar[int] = 403


@dataclass(eq=False)
class OfferRefusedError(RequestError):
    """An offer, or a training under it, that this node's limits or the chain do not allow."""

    status: ClassVar[int] = 403


@dataclass(eq=False)
class NoOfferError(RequestError):
    """A training for a device whose data are not here, or not for this round."""

    status: ClassVar[int] = 404


@dataclass(eq=False)
class StaleWordError(RequestError):
    """An offer or a withdrawal that does not come after the last one of its device: one that is played again."""

    status: ClassVar[int] = 409


@dataclass(eq=False)
class UnknownBlobError(RequestError):
    """Bytes that are not here, or that are secret while COLLECT is open."""

    status: ClassVar[int] = 404


@dataclass(eq=False)
class NotYetError(RequestError):
    """What was asked for is not there yet, such as a proof that is not certified."""

    status: ClassVar[int] = 404


@dataclass(eq=False)
class TooSlowError(RequestError):
    """A request whose body came too slowly."""

    status: ClassVar[int] = 408


@dataclass(eq=False)
class RefusedTransactionError(RequestError):
    """A transaction that the ledger refuses.

    Attributes:
        refusal: name of the ledger's error, such as ``WrongRoundError``.
    """

    refusal: str = ""

    status: ClassVar[int] = 409


@dataclass(eq=False)
class NoLengthError(RequestError):
    """A body whose length was not announced."""

    status: ClassVar[int] = 411


@dataclass(eq=False)
class WrongLengthError(RequestError):
    """A body that cannot be an update of this model."""

    status: ClassVar[int] = 413


@dataclass(eq=False)
class WrongBytesError(RequestError):
    """Bytes that are not what the transaction commits to."""

    status: ClassVar[int] = 422


@dataclass(eq=False)
class UnavailableError(RequestError):
    """The node cannot do its part for now, since what orders its blocks does not answer: try again later."""

    status: ClassVar[int] = 503


@dataclass(eq=False)
class TooManyRequestsError(RequestError):
    """One peer asks too often, or more upload at once than the node takes: try again later."""

    status: ClassVar[int] = 429
