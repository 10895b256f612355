from __future__ import annotations

from bees.engines.audit import verify_chain


def test_one_server_makes_blocks(make_net):
    net = make_net(1)
    net.start_all()
    net.wait_height(15, 0)
    net.close()
    verdict = verify_chain(net.home(0) / "chain.db")
    assert verdict.valid, verdict.reason
    assert verdict.round >= 1
