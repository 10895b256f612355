"""A device (UE) on a real network: checks w_g, trains on data that stays with it, and hands in its update.

``Device`` works for any framework that gives a list of arrays; ``AsyncDevice`` is the same for programs that run an
asyncio loop already.
"""

from bees.device.client import AsyncDevice, DeviceRound, Receipt
from bees.device.sync import Device

__all__ = ["AsyncDevice", "Device", "DeviceRound", "Receipt"]
