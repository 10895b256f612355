"""A device (UE) on a real network: checks w_g, trains on its own data, and hands in its update.

The data stay with it, unless it offloads them to its server, which then trains in its place. ``Device`` works for any
framework that gives a list of arrays; ``AsyncDevice`` is the same for programs that run an asyncio loop already.
"""

from bees.device.client import AsyncDevice
from bees.device.offloading import Terms
from bees.device.results import Delegated, DeviceRound, Receipt
from bees.device.sync import Device
from bees.transport.offloading import TrainingSettings

__all__ = ["AsyncDevice", "Delegated", "Device", "DeviceRound", "Receipt", "Terms", "TrainingSettings"]
