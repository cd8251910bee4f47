"""CPU seconds, memory and bytes of plans of very many clients, beside those of an older build.

    python -m benchmarks.large_plan [--before FOLDER] [--clients 100000] [--default]

Two scenarios: ``city`` with its five groups made larger, and groups of one client each, all different. FOLDER is a
checkout of the older build. Each build plans and writes, and replays what it wrote, with a profile cache of its own
that a first plan of ``city`` fills. Plans have constant shares, as those of older builds; with ``--default`` each
build's default is taken, which in newer ones also searches a schedule, and times rounds of all clients for it. CPU
seconds are those of the user and of the system, memory is the largest resident size.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import yaml

from benchmarks.start_up import ROOT, STATIC, Build

_MOST_OF_A_GROUP = 100_000


def scenarios(num_clients: int, folder: Path, only: str | None = None) -> dict[str, Path]:
    """Write the scenarios, or one of them; return their files by label."""
    document = yaml.safe_load((ROOT / "scenarios" / "library" / "city.yaml").read_text(encoding="utf-8"))
    own = sum(group["count"] for group in document["clients"])
    for band in ("uplink_hz", "downlink_hz"):
        document["radio"][band] = f"{float(document['radio'][band].split()[0]) * num_clients / own} MHz"
    groups = document["clients"]
    alike = [
        {**group, "group": f"{group['group']}-{part}" if part else group["group"], "count": count}
        for group in groups
        for part, count in enumerate(_parts(round(group["count"] * num_clients / own)))
    ]
    different = [
        {**base, "group": f"{base['group']}-{number}", "count": 1, "link": scaled}
        for number in range(num_clients if only != "five groups" else 0)
        for base in [groups[number % len(groups)]]
        for scaled in [{key: value * (1 + number / num_clients) for key, value in base["link"].items()}]
    ]
    found = {}
    for label, clients in (("five groups", alike), ("all different", different)):
        if only not in (None, label):
            continue
        found[label] = folder / f"{label.replace(' ', '-')}.yaml"
        text = yaml.dump({**document, "clients": clients}, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
        found[label].write_text(text, encoding="utf-8")
    return found


def _parts(number: int) -> list[int]:
    """Divide a number of alike clients into groups of no more than a group may have."""
    return [min(_MOST_OF_A_GROUP, number - begin) for begin in range(0, number, _MOST_OF_A_GROUP)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of the older build")
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--default", action="store_true", help="plan by each build's default strategy")
    parser.add_argument("--only", choices=("five groups", "all different"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hybridsplit-") as name:
        scratch = Path(name)
        builds = {"now": Build(ROOT, scratch / "now")}
        if arguments.before is not None:
            builds = {"before": Build(arguments.before.resolve(), scratch / "before"), **builds}
        files = scenarios(arguments.clients, scratch, arguments.only)
        head = f"{'plan CPU s':>11} {'MiB':>6} {'MB written':>11} {'replay CPU s':>13}"
        print(f"{'clients':>8} {'scenario':<14} {'build':<7} {head}")
        for build in builds.values():
            build.scratch.mkdir()
            build.run(["plan", "city"])
        for label, file in files.items():
            for called, build in builds.items():
                out = build.scratch / "out"
                strategy = [] if arguments.default else ["--strategy", STATIC]
                plan_s, mib = build.run(["plan", str(file), *strategy, "--out", str(out / "plan.json")])
                written = sum(path.stat().st_size for path in out.iterdir()) / 1e6
                replay_s, _ = build.run(["replay", str(out / "plan.json")])
                for path in out.iterdir():
                    path.unlink()
                print(
                    f"{arguments.clients:>8} {label:<14} {called:<7} {plan_s:>11.1f} {mib:>6.0f} {written:>11.2f} "
                    f"{replay_s:>13.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
