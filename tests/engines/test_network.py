from __future__ import annotations

from typing import Any

from bees.engines.network import Network, Unreliable, silence


def deliver_all(network: Network[Any], deadline_us: int = 10**9) -> list[tuple[int, int, Any]]:
    seen: list[tuple[int, int, Any]] = []
    network.run(lambda node, payload: seen.append((network.now_us, node, payload)), lambda: False, deadline_us)
    return seen


def test_messages_arrive_at_once_and_in_order_by_default() -> None:
    network = Network(3)
    network.broadcast(0, "a")
    network.broadcast(1, "b")
    assert deliver_all(network) == [(0, 1, "a"), (0, 2, "a"), (0, 0, "b"), (0, 2, "b")]


def test_time_moves_only_when_nothing_is_due() -> None:
    network = Network(2)
    network.set_timer(0, 500, "late")
    network.set_timer(0, 100, "soon")
    network.send(0, 1, "now")
    assert deliver_all(network) == [(0, 1, "now"), (100, 0, "soon"), (500, 0, "late")]


def test_timers_of_the_same_time_fire_in_the_order_they_were_set() -> None:
    network = Network(2)
    for name in "abc":
        network.set_timer(1, 100, name)
    assert [payload for _, _, payload in deliver_all(network)] == ["a", "b", "c"]


def test_run_gives_up_at_the_deadline_and_when_nothing_is_left() -> None:
    network = Network(1)
    network.set_timer(0, 100, "x")
    assert not network.run(lambda *_: None, lambda: False, deadline_us=99)
    assert network.run(lambda *_: None, lambda: network.now_us == 100, deadline_us=100) is True
    assert not network.run(lambda *_: None, lambda: False, deadline_us=10**6)


def test_the_same_seed_gives_the_same_deliveries_and_another_seed_others() -> None:
    def play(seed: int) -> list[tuple[int, int, Any]]:
        network = Network(5, Unreliable(seed, longest_us=1000, loss=0.3))
        for k in range(50):
            network.broadcast(k % 5, k)
        return deliver_all(network)

    assert play(1) == play(1)
    assert play(1) != play(2)
    assert len(play(1)) < 200
    assert [payload for _, _, payload in play(1)] != sorted(payload for _, _, payload in play(1))


def test_a_healed_network_loses_nothing() -> None:
    network = Network(4, Unreliable(1, longest_us=10, loss=1.0, heals_at_us=100))
    network.broadcast(0, "lost")
    network.set_timer(0, 100, "heal")
    assert deliver_all(network) == [(100, 0, "heal")]
    network.broadcast(0, "kept")
    assert len(deliver_all(network)) == 3


def test_a_silenced_node_hears_but_is_not_heard_until_it_is_let_go() -> None:
    network = Network(2, silence(frozenset({0}), until_us=50))
    network.send(0, 1, "lost")
    network.send(1, 0, "heard")
    network.set_timer(1, 50, "free")
    assert [payload for _, _, payload in deliver_all(network)] == ["heard", "free"]
    network.send(0, 1, "kept")
    assert [payload for _, _, payload in deliver_all(network)] == ["kept"]


def test_clear_forgets_messages_and_timers() -> None:
    network = Network(2)
    network.send(0, 1, "x")
    network.set_timer(0, 10, "y")
    network.clear()
    assert deliver_all(network) == []
