"""What the peak memory of every mode consists of."""

from __future__ import annotations

from hybridsplit.profiler.device_rows import cuda_memory
from hybridsplit.profiler.memory import MemoryBreakdown, client_memory
from hybridsplit.profiler.models import traced_model, with_batch_size
from hybridsplit.scenarios.contracts.options import OptionTable
from hybridsplit.scenarios.contracts.recompute import LADDER, most_kept_inputs, parse_order
from hybridsplit.scenarios.devices import find_device
from hybridsplit.scenarios.schema import Scenario


def explain_memory(scenario: Scenario, options: OptionTable) -> dict[str, MemoryBreakdown]:
    """Return what the peak of every mode consists of at the middle cut and the largest batch, by the option's name.

    Of ``fo-recompute`` the level with the least work is shown, and the one with the least memory.

    Parameters
    ----------
    scenario
        The scenario.
    options
        Its option table.
    """
    *smaller, batch_size = options.batch_sizes
    batch = f", batch {batch_size}" if smaller else ""
    traced = with_batch_size(traced_model(scenario), scenario, batch_size)
    cuts = sorted({int(cut) for cut in options.table["cut"]})
    cut = cuts[(len(cuts) - 1) // 2]
    # Devices differ in memory only where they follow a CUDA allocator of their own.
    models = {
        cuda_memory(find_device(device, scenario.devices, "clients.device")): device
        for device in reversed(options.table["device"].unique().tolist())
    }
    rows = options.table[(options.table["cut"] == cut) & (options.table["batch_size"] == batch_size)]
    rows = rows[rows["recompute"] != LADDER].drop_duplicates(["mode", "recompute", "head_blocks", "micro_batches"])
    found: dict[str, MemoryBreakdown] = {}
    for cuda, device in reversed(models.items()):
        where = f" on {device}" if len(models) > 1 or cuda is not None else ""
        for (mode, *kind), of_mode in rows.groupby(["mode", "head_blocks", "micro_batches"], sort=False):
            head_blocks, parts = (int(str(number)) for number in kind)
            beside = f", head of {head_blocks}" if head_blocks else ""
            beside += f", {parts} micro-batches" if parts > 1 else ""
            levels = of_mode.sort_values("client_peak_bytes", ascending=False)["recompute"]
            for recompute in dict.fromkeys((levels.iloc[0], levels.iloc[-1])):
                kept = f", {most_kept_inputs(parse_order(recompute))} inputs kept" if recompute else ""
                breakdown = client_memory(
                    traced, scenario, cut, str(mode), recompute, cuda=cuda, head_blocks=head_blocks, micro_batches=parts
                )
                found[f"cut {cut} {mode}{kept}{beside}{batch}{where}"] = breakdown
    return found
