"""Each number in docs/offloading.md is what the committed rows of the study say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bees.report.offloading_figures import learning_row, offloading_figures, policy_row
from bees.report.style import svg_text
from bees.study.offloading import DiagramRow, LearningRow, PolicyRow, PolicyTask, Row, measure
from bees.study.offloading_diagram import draw, point_of
from bees.study.rows import read_rows

DOCS = Path(__file__).parents[2] / "docs"
ROWS: list[Row] = read_rows(DOCS / "studies" / "offloading.jsonl", Row)
PAGE = (DOCS / "offloading.md").read_text()
TEXT = " ".join(PAGE.split())
COMPARING = ("latency", "energy", "weighted", "lifetime", "lyapunov")


def diagram(constants: str, sharers: int, blocks: int) -> DiagramRow:
    found = [row for row in ROWS if isinstance(row, DiagramRow) and row.constants == constants]
    return next(row for row in found if (row.sharing.sharers, row.sharing.blocks) == (sharers, blocks))


def says(*texts: str) -> None:
    for text in texts:
        assert " ".join(text.split()) in TEXT, text


def three(value: float) -> str:
    """Three digits that count, as the page writes them."""
    return f"{value:#.3g}".rstrip(".")


def test_the_papers_point_stands_where_the_page_says():
    for blocks, when in ((1, "every block"), (50, "once in 50 blocks")):
        row = diagram("paper", 30, blocks)
        for size, point in (("80 MB", row.published), ("0.47 MB", row.real)):
            by_energy, by_latency = (
                point.raw_bytes / limit for limit in (point.most_raw_bytes_by_energy, point.most_raw_bytes_by_latency)
            )
            digits = 0 if by_energy > 100 else 1 if by_energy > 1 else 2
            there = f"{point.offload_s:.2g}" if point.offload_s < 0.01 else three(point.offload_s)
            says(
                f"| {size}, {when} | {point.local_s:.3f} s, {point.local_j:.2f} J "
                f"| {there} s, {three(point.offload_j)} J "
                f"| {three(point.most_raw_bytes_by_energy / 1e6)} MB "
                f"| {three(point.most_raw_bytes_by_latency / 1e6)} MB "
                f"| {by_energy:.{digits}f} times | {by_latency:.{digits}f} times |"
            )
    row = diagram("paper", 30, 1)
    says(f"{row.published.rate_bits_per_s / 1e6:.1f} Mbit/s", f"stands {row.ue.distance_m:.0f} m from its server")
    assert (row.ue.samples, row.ue.cycles_per_sample) == (600, 20_000)
    assert row.published.most_clock_by_latency_hz is not None
    says(
        f"above {row.published.least_clock_by_energy_hz / 1e9:.0f} GHz",
        f"below {row.published.most_clock_by_latency_hz / 1e6:.1f} MHz",
    )
    alone = diagram("paper", 1, 1).published
    says(
        f"{alone.raw_bytes / alone.most_raw_bytes_by_energy:.0f} times above s_E, "
        f"{alone.raw_bytes / alone.most_raw_bytes_by_latency:.0f} times above s_T"
    )


def test_sending_once_pays_from_the_block_that_the_page_names():
    one = diagram("paper", 30, 1)
    ratios = [
        point.raw_bytes / limit
        for point in (one.published, one.real)
        for limit in (point.most_raw_bytes_by_energy, point.most_raw_bytes_by_latency)
    ]
    says(f"80 MB sent *once* pay after {ratios[0]:.0f} blocks by energy and after {ratios[1]:.0f} by latency")
    assert [int(ratio) + 1 for ratio in ratios[2:]] == [3, 4]
    says("0.47 MB sent once pay from block 3 on by energy, and from block 4 on by latency")


def test_who_shares_the_band_decides():
    for sharers in (1, 5, 30, 100):
        p = diagram("paper", sharers, 1).real
        saves = [f"{'yes' if offload < local else 'no'}" for offload, local in
                 ((p.offload_j, p.local_j), (p.offload_s, p.local_s))]  # fmt: skip
        says(
            f"| {sharers} | {p.local_s:.3f} s, {p.local_j:.2f} J | {p.offload_s:.3f} s, {p.offload_j:.2f} J "
            f"| {saves[0]} | {saves[1]} |"
        )


def test_sound_constants_set_energy_and_latency_against_each_other():
    p, once = diagram("sound", 5, 1).real, diagram("sound", 5, 50).real
    says(
        f"{1e3 * p.local_j:.2f} mJ and {1e3 * p.local_s:.0f} ms at home against {1e3 * p.offload_j:.2f} mJ "
        f"and {1e3 * p.offload_s:.0f} ms at the server",
        f"s_E is {p.most_raw_bytes_by_energy / 1e6:.1f} MB",
        f"factor of {p.most_raw_bytes_by_energy / p.raw_bytes:.1f} to spare",
        f"s_T is {p.most_raw_bytes_by_latency / 1e6:.3f} MB, so by latency it is a factor of "
        f"{p.raw_bytes / p.most_raw_bytes_by_latency:.1f} away",
    )
    assert once.offload_j < once.local_j
    assert once.offload_s < once.local_s


def policy_lines() -> list[list[str]]:
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines if len(line) == 9 and line[0].strip() != "world"]


def test_every_line_of_the_policies_is_that_of_its_rows():
    lines = policy_lines()
    assert len(lines) == 17
    for world, policies, *numbers in lines:
        named = policies.replace("and all that compare", ", ".join(COMPARING)).split(", ")
        for policy in {name.strip() for name in named} - {""}:
            row = policy_row(ROWS, world, policy)
            assert row.blocks == (row.ended_at or 50)
            assert numbers == [
                f"{row.latency_s:.2f}",
                f"{row.energy_j:,.0f}",
                f"{row.server_energy_j:.1f}",
                f"{sum(row.arrived):,}",
                str(row.charged[-1]),
                f"{row.raw_bytes / 1e6:,.0f}",
                f"{row.raw_samples_shared:,}",
            ], (world, policy)


def test_what_is_said_of_the_policies():
    home, sticky = policy_row(ROWS, "paper", "local"), policy_row(ROWS, "sticky", "latency")
    says(
        f"{home.energy_j / sticky.energy_j:.0f} times in energy and "
        f"{home.latency_s / sticky.latency_s:.0f} times in latency",
        f"nobody is left at block {policy_row(ROWS, 'paper', 'offload').ended_at}",
        f"loses {5000 - sum(policy_row(ROWS, 'deadline', 'local').arrived):,} of 5,000 updates",
        f"last UE is gone at block {policy_row(ROWS, 'small batteries', 'local').ended_at}, "
        "offloading in every block at "
        f"block {policy_row(ROWS, 'small batteries', 'offload').ended_at}",
        f"last UE at block {policy_row(ROWS, 'small batteries', 'battery').ended_at}, and gives 58,647 samples away",
    )
    for policy in ("optimum", "battery"):
        assert policy_row(ROWS, "sticky", policy).offloaded == 0
    late = policy_row(ROWS, "deadline, sticky", "latency").arrived
    assert late[0] == 0
    assert set(late[1:]) == {100}
    says("loses the first block of all 100")
    cellular = policy_row(ROWS, "3gpp", "local")
    says(f"{cellular.latency_s / 50:.0f} s per block", f"servers spend {cellular.server_energy_j:.0f} J")
    assert policy_row(ROWS, "3gpp", "energy").energy_j == pytest.approx(2 / 3 * cellular.energy_j, rel=0.02)
    for policy, share in (("local", 0.5), ("offload", 0.2)):
        settled = policy_row(ROWS, "harvest", policy).arrived[-25:]
        assert sum(settled) / 2500 == pytest.approx(share, abs=0.02)
    for world in ("small batteries, sticky", "harvest, sticky"):
        assert set(policy_row(ROWS, world, "lifetime").charged) == {100}
    every, mining = policy_row(ROWS, "real size", "offload"), home.mining_energy_j
    says(f"{mining / 1e3:.0f} kJ, {mining / home.energy_j:.0f} times what all UEs spend")
    assert every.raw_bytes == pytest.approx(50 * sticky.raw_bytes)
    assert sticky.server_energy_j == pytest.approx(sticky.energy_j / 8, rel=0.05)


def test_no_policy_that_compares_offloads_in_the_papers_world():
    for world in ("paper", "paper, once"):
        for policy in (*COMPARING, "optimum"):
            assert policy_row(ROWS, world, policy).offloaded == 0


def test_every_line_of_what_is_learnt_is_that_of_its_row():
    pairs = [("paper", "local"), ("real size", "offload"), ("sticky", "latency"), ("small batteries", "local")]
    pairs += [("deadline", "local"), ("deadline, sticky", "latency"), ("harvest", "local")]
    for world, policy in pairs:
        row = learning_row(ROWS, world, policy)
        first = next((str(t) for t, accuracy in enumerate(row.accuracy, 1) if accuracy >= 0.85), "never")
        says(
            f"| {world} | {policy} | {row.accuracy[-1]:.1%} | {max(row.accuracy):.1%} | {row.total_energy_j[-1]:,.0f} "
            f"| {row.total_latency_s[-1]:.2f} | {first} |"
        )
    learnt = [row for row in ROWS if isinstance(row, LearningRow)]
    assert (len({row.trained_as for row in learnt}), len(learnt)) == (5, 9)
    says("five trainings serve nine pairs")
    by_pattern = {row.pattern: row.accuracy for row in learnt}
    assert all(row.accuracy == by_pattern[row.pattern] for row in learnt)
    assert {row.pattern for row in learnt} <= {row.pattern for row in ROWS if isinstance(row, PolicyRow)}


def test_committed_diagrams_are_what_the_code_draws():
    for row in ROWS:
        if isinstance(row, DiagramRow):
            assert row.cells == draw(row.plane, row.ue, row.sharing)
            assert row.real == point_of(row.ue, row.sharing, row.ue.real_bytes)


@pytest.mark.parametrize("world", ["paper", "sticky", "3gpp", "small batteries", "harvest", "deadline, sticky"])
def test_committed_policies_are_what_the_physics_gives(world: str):
    assert measure(PolicyTask(world, "energy", 0, ())) == [policy_row(ROWS, world, "energy")]


def test_committed_figures_are_drawn_from_the_committed_rows():
    figures = offloading_figures(ROWS)
    assert len(figures) == 6
    for name, figure in figures.items():
        assert f"figures/{name}.svg" in PAGE
        assert (DOCS / "figures" / f"{name}.svg").read_text() == svg_text(figure), name
