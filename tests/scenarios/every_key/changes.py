"""For every key of a scenario of training: a scenario in which it matters, another value, and what that changes."""

from __future__ import annotations

from typing import Any, NamedTuple

Values = dict[str, Any]


class Change(NamedTuple):
    """What is set first, what is set after that, and where the difference shows."""

    observed: str
    to: Values
    given: Values = {}


P = "clients.0.link"
T = "training"
Z = "training.zeroth_order"
EFFICIENCY = "devices.mine.efficiency"
MINE: Values = {
    "devices.mine": {
        "name": "mine", "kind": "sbc", "memory_bytes": "4 GiB", "memory_bandwidth_bytes_per_s": "4 GB/s",
        "fp32_flops_per_s": "8 GFLOP/s", "max_power_w": 6, "source": "ours", "efficiency": {
            "matmul": 0.5, "convolution": 0.4, "memory": 0.6,
        },
    },
    "clients.0.device": "mine",
}  # fmt: skip
GROUPED: Values = {
    "model.config": {
        "model_type": "regnet", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
        "groups_width": 4, "num_labels": 10, "layer_type": "x",
    }
}  # fmt: skip
GPU: Values = {**MINE, "devices.mine.cuda": {"multiprocessors": 16, "cublas_workspace_bytes": "8 MiB"},
               "clients.0.memory_budget_bytes": "1 GiB"}  # fmt: skip
ADAPTERS: Values = {
    "model": {
        "task": "sequence-classification",
        "config": {
            "model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "vocab_size": 80, "num_labels": 2, "max_position_embeddings": 16,
        },
    },
    "data": {"source": "synthetic-tokens", "num_samples": 64},
    f"{T}.sequence_length": 8,
    f"{T}.trainable": {"method": "lora", "rank": 2},
}  # fmt: skip
MANY_ROWS: Values = {**ADAPTERS, **GPU, f"{T}.trainable": {"method": "all"}, f"{T}.batch_size": 2048}
PROJECTED: Values = {f"{T}.modes": ["zo-projection"]}
PROBED: Values = {f"{T}.modes": ["zo-loss"]}
LOCAL: Values = {f"{T}.modes": ["fo-local"]}
LOCAL_LANGUAGE: Values = {
    **LOCAL,
    "model": {
        "task": "causal-lm",
        "config": {
            "model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 80, "n_positions": 16,
        },
    },
    "data": {"source": "synthetic-tokens", "num_samples": 64},
    f"{T}.sequence_length": 8,
}  # fmt: skip
SHANNON: Values = {
    "radio.link_model": "shannon",
    **{f"clients.{index}.link": {"path_gain_db": -95, "downlink_bps_per_hz": 3} for index in (0, 1)},
}
M = "clients.0.memory_trace"
ON_LADDERS: Values = {f"{T}.modes": ["fo-recompute"], f"{T}.batch_size": 32, "clients.0.memory_budget_bytes": "2 MiB"}
MOVED: Values = {**ON_LADDERS, M: {"path": "memory.tsv"}}
RATED: Values = {P: {"uplink_bps": "20 Mbit/s", "downlink_bps": "50 Mbit/s"}}
DRAWN: Values = {
    f"{P}.trace": {
        "fading": "rician", "rician_k_db": 3, "mean_snr_db": 10, "block_s": 0.01, "duration_s": 5, "shadowing_db": 6,
        "shadowing_coherence_s": 1, "distances_m": [1, 3],
    }
}  # fmt: skip
RECORDED: Values = {f"{P}.trace": {"path": "both.csv"}}
TARGET: Values = {
    "objective.minimise": "time-to-target",
    "objective.pilot": {
        "formula": 2, "target_accuracy": 0.8,
        "rounds": 5, "batch_noise": 0.5, "untrained_clients": 0.3, "untrained_blocks": 0.3,
        "estimate_noise": 0.2, "num_pilots": 6, "held_out_error": 0.1, "block_share": [0.2, 0.2, 0.2, 0.2, 0.1, 0.1],
    },
}  # fmt: skip
NET: Values = {
    "model": {"task": "classification", "python": "net.py:make"},
    "data": {"source": "number-table", "path": "t.csv", "columns": ["a", "b", "c"]},
}
SEVERAL: Values = {"model.problem_type": "multi_label_classification"}
HOT: Values = {**NET, **SEVERAL, "data.label_columns": ["p", "q", "r", "s"]}
NUMBERS: Values = {
    **NET, "model.problem_type": "regression", "data.label_column": "c",
    "data.partition": {"scheme": "dirichlet", "alpha": 0.3, "label_bins": 8}, "data.columns": ["a", "b"],
}  # fmt: skip
TEXT: Values = {
    "model": {"task": "sequence-classification", "config": ADAPTERS["model"]["config"] | {"num_labels": 2}},
    "data": {"source": "text-table", "path": "t.tsv", "tokenizer": "tokenizer"},
    f"{T}.sequence_length": 8,
}
IMAGES: Values = {"data": {"source": "image-folder", "path": "images", "image_size": 8}}
ARCHIVE: Values = {"data": {"source": "image-archive", "path": "images.npz", "image_size": 8}}
SAVED: Values = {"data": {"source": "saved-dataset", "path": "saved", "image_size": 8}}
SAVED_TEXT: Values = {
    **TEXT,
    "data": {"source": "saved-dataset", "path": "saved-text", "tokenizer": "tokenizer"},
}
OWN_DATA: Values = {
    "model": {"task": "classification", "python": "net.py:make"},
    "data": {"source": "python", "python": "net.py:data", "arguments": {"size": 90}},
}

CHANGES: dict[str, Change] = {
    "Scenario.seed": Change("trained", {"seed": 7}),
    "Scenario.devices": Change("planned", MINE),
    "Scenario.device_files": Change("refused", {"device_files": ["absent.yaml"]}),
    "Scenario.schema_version": Change("refused", {"schema_version": 2}),
    "Model.task": Change("refused", {"model.task": "causal-lm"}),
    "Model.config": Change("planned", {"model.config.hidden_sizes": [8, 24]}),
    "Model.checkpoint": Change("refused", {"model.checkpoint": "absent", "model.config": None}),
    "Model.trust_remote_code": Change("refused", {"model.trust_remote_code": True}),
    "Model.problem_type": Change("trained", {"model.problem_type": "regression"}, HOT),
    "Model.python": Change("planned", {"model.python": "net.py:deeper"}, NET),
    "Model.arguments": Change("planned", {"model.arguments": {"width": 32}}, NET),
    "Model.blocks": Change(
        "planned", {"model.blocks": ["0", "1", "2", "3", "4"]}, NET | {"model.python": "net.py:deeper"}
    ),
    "Model.dtype": Change("planned", {"model.dtype": "bfloat16"}),
    "Model.master_weights": Change("planned", {"model.master_weights": "none"}, {"model.dtype": "bfloat16"}),
    "Digits.test_fraction": Change("dealt", {"data.test_fraction": 0.4}),
    "Digits.image_size": Change("dealt", {"data.image_size": 12}),
    "Digits.partition": Change("dealt", {"data.partition": {"scheme": "dirichlet", "alpha": 0.3}}),
    "Dirichlet.alpha": Change(
        "dealt", {"data.partition.alpha": 5.0}, {"data.partition": {"scheme": "dirichlet", "alpha": 0.3}}
    ),
    "Dirichlet.label_bins": Change("dealt", {"data.partition.label_bins": 2}, NUMBERS),
    "ByKey.key": Change(
        "dealt",
        {"data.partition.key": "label"},
        NET | {"data.key_column": "who", "data.partition": {"scheme": "by-key", "key": "who"}},
    ),
    "SyntheticTokens.num_samples": Change("dealt", {"data.num_samples": 80}, ADAPTERS),
    "SyntheticTokens.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, ADAPTERS),
    "SyntheticTokens.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, ADAPTERS),
    "TextTable.path": Change("dealt", {"data.path": "u.tsv"}, TEXT),
    "TextTable.test_path": Change("dealt", {"data.test_path": "u.tsv"}, TEXT),
    "TextTable.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, TEXT),
    "TextTable.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, TEXT),
    "TextTable.tokenizer": Change("dealt", {"data.tokenizer": "tokenizer-2"}, TEXT),
    "TextTable.text_column": Change("dealt", {"data.text_column": "other"}, TEXT),
    "TextTable.label_columns": Change(
        "dealt", {"data.label_columns": ["q", "p"]}, TEXT | SEVERAL | {"data.label_columns": ["p", "q"]}
    ),
    "TextTable.label_separator": Change(
        "dealt",
        {"data.label_separator": ";"},
        TEXT | SEVERAL | {"data.label_column": "tags", "data.label_separator": "|"},
    ),
    "TextTable.label_column": Change("dealt", {"data.label_column": "mood"}, TEXT),
    "TextTable.key_column": Change(
        "dealt",
        {"data.key_column": "place", "data.partition.key": "place"},
        TEXT | {"data.key_column": "who", "data.partition": {"scheme": "by-key", "key": "who"}},
    ),
    "ImageArchive.path": Change("dealt", {"data.path": "images-2.npz"}, ARCHIVE),
    "ImageArchive.image_size": Change("dealt", {"data.image_size": 12}, ARCHIVE),
    "ImageArchive.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, ARCHIVE),
    "ImageArchive.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, ARCHIVE),
    "ImageArchive.unpacked_limit_bytes": Change("refused", {"data.unpacked_limit_bytes": "1 KiB"}, ARCHIVE),
    "ImageFolder.path": Change("dealt", {"data.path": "images-2"}, IMAGES),
    "ImageFolder.test_path": Change("dealt", {"data.test_path": "images-2"}, IMAGES),
    "ImageFolder.image_size": Change("dealt", {"data.image_size": 12}, IMAGES),
    "ImageFolder.channels": Change("dealt", {"data.channels": 3, "model.config.num_channels": 3}, IMAGES),
    "ImageFolder.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, IMAGES),
    "ImageFolder.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, IMAGES),
    "ImageFolder.unpacked_limit_bytes": Change("refused", {"data.unpacked_limit_bytes": "1 KiB"}, IMAGES),
    "NumberTable.path": Change("dealt", {"data.path": "u.csv"}, NET),
    "NumberTable.test_path": Change("dealt", {"data.test_path": "u.csv"}, NET),
    "NumberTable.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, NET),
    "NumberTable.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, NET),
    "NumberTable.label_columns": Change(
        "dealt", {"data.label_columns": ["q", "p"]}, NET | SEVERAL | {"data.label_columns": ["p", "q"]}
    ),
    "NumberTable.label_separator": Change(
        "dealt",
        {"data.label_separator": ";"},
        NET | SEVERAL | {"data.label_column": "tags", "data.label_separator": "|"},
    ),
    "NumberTable.label_column": Change("dealt", {"data.label_column": "kind"}, NET),
    "NumberTable.columns": Change("dealt", {"data.columns": ["c", "b", "a"]}, NET),
    "NumberTable.key_column": Change(
        "dealt",
        {"data.key_column": "kind", "data.partition.key": "kind"},
        NET
        | {
            "data.key_column": "who",
            "data.columns": ["a", "b", "c"],
            "data.partition": {"scheme": "by-key", "key": "who"},
        },
    ),
    "NumberTable.standardise": Change("dealt", {"data.standardise": False}, NET),
    "SavedDataset.path": Change("dealt", {"data.path": "saved-2"}, SAVED),
    "SavedDataset.column": Change("dealt", {"data.column": "image2"}, SAVED | {"data.column": "image"}),
    "SavedDataset.label_columns": Change(
        "dealt", {"data.label_columns": ["q", "p"]}, SAVED_TEXT | SEVERAL | {"data.label_columns": ["p", "q"]}
    ),
    "SavedDataset.label_separator": Change(
        "dealt",
        {"data.label_separator": ";"},
        SAVED_TEXT | SEVERAL | {"data.label_column": "tags", "data.label_separator": "|"},
    ),
    "SavedDataset.label_column": Change("dealt", {"data.label_column": "mood"}, SAVED),
    "SavedDataset.tokenizer": Change("dealt", {"data.tokenizer": "tokenizer-2"}, SAVED_TEXT),
    "SavedDataset.image_size": Change("dealt", {"data.image_size": 12}, SAVED),
    "SavedDataset.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, SAVED),
    "SavedDataset.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, SAVED),
    "PythonData.python": Change("dealt", {"data.python": "net.py:other_data"}, OWN_DATA),
    "PythonData.arguments": Change("dealt", {"data.arguments.size": 120}, OWN_DATA),
    "PythonData.test_fraction": Change("dealt", {"data.test_fraction": 0.4}, OWN_DATA),
    "PythonData.partition": Change("dealt", {"data.partition": {"scheme": "by-key", "key": "label"}}, OWN_DATA),
    "Training.trainable": Change("planned", {f"{T}.trainable": {"method": "biases-and-norms"}}),
    "TrainLora.rank": Change("planned", {f"{T}.trainable.rank": 4}, ADAPTERS),
    "TrainLora.modules_to_save": Change("planned", {f"{T}.trainable.modules_to_save": ["LayerNorm"]}, ADAPTERS),
    "TrainLora.alpha": Change("trained", {f"{T}.trainable.alpha": 64.0}, ADAPTERS),
    "TrainLora.dora": Change("planned", {f"{T}.trainable.dora": True}, {**ADAPTERS, f"{T}.modes": ["fo", "frozen"]}),
    "TrainLora.target_modules": Change("planned", {f"{T}.trainable.target_modules": ["query"]}, ADAPTERS),
    "Training.optimizer": Change("planned", {f"{T}.optimizer": {"name": "adamw", "learning_rate": 0.1}}),
    "Sgd.learning_rate": Change("trained", {f"{T}.optimizer.learning_rate": 0.01}),
    "Sgd.momentum": Change("planned", {f"{T}.optimizer.momentum": 0.9}),
    "Sgd.weight_decay": Change("trained", {f"{T}.optimizer.weight_decay": 0.1}),
    "AdamW.learning_rate": Change(
        "trained", {f"{T}.optimizer.learning_rate": 0.01}, {f"{T}.optimizer": {"name": "adamw", "learning_rate": 0.1}}
    ),
    "AdamW.weight_decay": Change(
        "trained", {f"{T}.optimizer.weight_decay": 0.5}, {f"{T}.optimizer": {"name": "adamw", "learning_rate": 0.1}}
    ),
    "Training.server_optimizer": Change("trained", {f"{T}.server_optimizer": {"name": "sgd", "learning_rate": 0.01}}),
    "Training.optimizer_state": Change("trained", {f"{T}.optimizer_state": "keep"}, {f"{T}.optimizer.momentum": 0.9}),
    "Training.learning_rate_schedule": Change("trained", {f"{T}.learning_rate_schedule": {"shape": "cosine"}}),
    "LearningRateSchedule.shape": Change(
        "trained",
        {f"{T}.learning_rate_schedule.shape": "linear"},
        {f"{T}.learning_rate_schedule": {"shape": "cosine", "final_fraction": 0.1}, f"{T}.rounds": 5},
    ),
    "LearningRateSchedule.warmup_rounds": Change("trained", {f"{T}.learning_rate_schedule": {"warmup_rounds": 3}}),
    "LearningRateSchedule.final_fraction": Change(
        "trained",
        {f"{T}.learning_rate_schedule.final_fraction": 0.5},
        {f"{T}.learning_rate_schedule": {"shape": "linear"}},
    ),
    "Training.gradient_clip": Change("trained", {f"{T}.gradient_clip": {"norm": 0.1}}),
    "GradientClip.norm": Change("trained", {f"{T}.gradient_clip.norm": 0.01}, {f"{T}.gradient_clip": {"norm": 0.1}}),
    "GradientClip.over": Change(
        "trained", {f"{T}.gradient_clip.over": "parameter"}, {f"{T}.gradient_clip": {"norm": 0.1}}
    ),
    "Training.batch_size": Change("planned", {f"{T}.batch_size": 16}),
    "Training.batch_sizes": Change("planned", {f"{T}.batch_sizes": [2, 4]}),
    "Training.sequence_length": Change("planned", {f"{T}.sequence_length": 6}, ADAPTERS),
    "Training.local_steps": Change("planned", {f"{T}.local_steps": 3}),
    "Training.rounds": Change("trained", {f"{T}.rounds": 3}),
    "Training.participation": Change("trained", {f"{T}.participation": 0.5}),
    "Training.modes": Change("planned", {f"{T}.modes": ["zo-loss"]}),
    "Training.server_model": Change("trained", {f"{T}.server_model": "shared-mean"}),
    "Training.server_gradient": Change("trained", {f"{T}.server_gradient": "zeroth-order"}, PROBED),
    "Training.label_holder": Change("planned", {f"{T}.label_holder": "server"}),
    "Training.head_blocks": Change("planned", {f"{T}.head_blocks": [0, 1]}),
    "Training.zeroth_order": Change("trained", {Z: {"directions": 2}}, PROJECTED),
    "Training.zo_prefix_blocks": Change("planned", {f"{T}.zo_prefix_blocks": 1}, PROJECTED),
    "Training.overlap": Change("planned", {f"{T}.overlap": {"staleness": [1]}}),
    "Overlap.staleness": Change("planned", {f"{T}.overlap.staleness": [1]}, {f"{T}.overlap": {"staleness": [0]}}),
    "Overlap.micro_batches": Change("planned", {f"{T}.overlap.micro_batches": [4]}, ADAPTERS),
    "Overlap.gradient": Change("planned", {f"{T}.overlap.gradient": "current"}, {f"{T}.overlap": {"staleness": [1]}}),
    "Training.local_loss": Change("planned", {f"{T}.local_loss": {"upload_every": [2]}}, LOCAL),
    "LocalLoss.upload_every": Change("planned", {f"{T}.local_loss.upload_every": [1, 2]}, LOCAL),
    "LocalLoss.rank": Change("planned", {f"{T}.local_loss.rank": 2}, LOCAL_LANGUAGE),
    "Training.frozen_control": Change("trained", {f"{T}.frozen_control": True}),
    "ZerothOrder.directions": Change("planned", {Z: {"directions": 2}}, PROJECTED),
    "ZerothOrder.radius": Change("trained", {Z: {"radius": 0.1}}, PROJECTED),
    "ZerothOrder.optimizer": Change("planned", {Z: {"optimizer": {"name": "adamw", "learning_rate": 0.1}}}, PROJECTED),
    "ZerothOrder.distribution": Change("trained", {Z: {"distribution": "rademacher"}}, PROJECTED),
    "ZerothOrder.projection_sides": Change("planned", {Z: {"projection_sides": "two"}}, PROJECTED),
    "ZerothOrder.loss_sides": Change("planned", {Z: {"loss_sides": "one"}}, PROBED),
    "ZerothOrder.anchor": Change("planned", {Z: {"anchor": "first-plus"}}, PROBED),
    "ZerothOrder.derivative": Change("trained", {Z: {"derivative": "forward-mode"}}, PROJECTED),
    "ZerothOrder.clip_derivative": Change(
        "trained", {f"{Z}.clip_derivative": 1e-6}, PROJECTED | {Z: {"optimizer": {"name": "sgd", "learning_rate": 1}}}
    ),
    "ZerothOrder.effective_dimension": Change("planned", {Z: {"effective_dimension": 3}}, PROJECTED),
    "Server.device": Change("planned", {"server.device": "cloud_a100_80gb"}),
    "Server.load": Change("planned", {"server.load": 0.9}),
    "Server.memory_bytes": Change("refused", {"server.memory_bytes": "1 KiB"}, {f"{T}.label_holder": "server"}),
    "Radio.link_model": Change("refused", {"radio.link_model": "shannon"}),
    "Radio.uplink_hz": Change("planned", {"radio.uplink_hz": "1 MHz"}),
    "Radio.downlink_hz": Change("planned", {"radio.downlink_hz": "1 MHz"}),
    "Radio.noise_dbm_per_hz": Change("planned", {"radio.noise_dbm_per_hz": -160}, SHANNON),
    "ClientGroup.group": Change("planned", {"clients.0.group": "another"}),
    "ClientGroup.device": Change("planned", {"clients.0.device": "rpi5_8gb"}),
    "ClientGroup.count": Change("planned", {"clients.0.count": 2}),
    "ClientGroup.memory_budget_bytes": Change("planned", {"clients.0.memory_budget_bytes": "100 KiB"}),
    "ClientGroup.memory_trace": Change("planned", {"clients.0.memory_trace": "memory.tsv"}, ON_LADDERS),
    "MemoryOverTime.path": Change("played", {f"{M}.path": "memory-2.tsv"}, MOVED),
    "MemoryOverTime.below_floor": Change("played", {f"{M}.below_floor": "skip"}, MOVED),
    "ClientGroup.link": Change("planned", RATED),
    "ClientGroup.data_share": Change("planned", {"clients.0.data_share": 3}),
    "ClientGroup.min_cut": Change("planned", {"clients.0.min_cut": 2}),
    "ClientGroup.energy_cap_j": Change("refused", {"clients.0.energy_cap_j": 1e-9}),
    "ClientGroup.drop_price_s": Change("planned", {"clients.0.drop_price_s": 0}),
    "FixedLink.uplink_bps_per_hz": Change("planned", {f"{P}.uplink_bps_per_hz": 0.1}),
    "FixedLink.downlink_bps_per_hz": Change("planned", {f"{P}.downlink_bps_per_hz": 0.1}),
    "ShannonLink.path_gain_db": Change("planned", {f"{P}.path_gain_db": -110}, SHANNON),
    "ShannonLink.transmit_power_dbm": Change("planned", {f"{P}.transmit_power_dbm": 3}, SHANNON),
    "ShannonLink.downlink_bps_per_hz": Change("planned", {f"{P}.downlink_bps_per_hz": 0.1}, SHANNON),
    "RatedLink.uplink_bps": Change("planned", {f"{P}.uplink_bps": "1 Mbit/s"}, RATED),
    "RatedLink.downlink_bps": Change("planned", {f"{P}.downlink_bps": "1 Mbit/s"}, RATED),
    "RatedLink.medium": Change("planned", {f"{P}.medium": "shared"}, RATED),
    "RecordedTrace.path": Change("played", {f"{P}.trace.path": "other.csv"}, RECORDED),
    "RecordedTrace.use": Change("played", {f"{P}.trace.use": "absolute"}, RECORDED),
    "RecordedTrace.direction": Change("played", {f"{P}.trace.direction": "up"}, RECORDED),
    "RecordedTrace.past_the_end": Change(
        "refused", {f"{P}.trace.past_the_end": "fail"}, {f"{P}.trace": {"path": "short.csv", "use": "absolute"}}
    ),
    "RecordedTrace.band_hz": Change(
        "played",
        {f"{P}.trace.band_hz": "1 MHz"},
        {f"{P}.trace": {"path": "cqi.csv", "index_table": "cqi-1", "use": "absolute", "band_hz": "5 MHz"}},
    ),
    "RecordedTrace.index_table": Change(
        "played", {f"{P}.trace.index_table": "cqi-2"}, {f"{P}.trace": {"path": "cqi.csv", "index_table": "cqi-1"}}
    ),
    "GeneratedTrace.use": Change("played", {f"{P}.trace.use": "absolute", f"{P}.trace.band_hz": "1 MHz"}, DRAWN),
    "GeneratedTrace.band_hz": Change(
        "played",
        {f"{P}.trace.band_hz": "3 MHz"},
        {f"{P}.trace": DRAWN[f"{P}.trace"] | {"use": "absolute", "band_hz": "1 MHz"}},
    ),
    "GeneratedTrace.direction": Change("played", {f"{P}.trace.direction": "up"}, DRAWN),
    "GeneratedTrace.past_the_end": Change(
        "refused",
        {f"{P}.trace.past_the_end": "fail"},
        {f"{P}.trace": {"fading": "rayleigh", "mean_snr_db": -30, "block_s": 1e-4, "duration_s": 1e-3}},
    ),
    "GeneratedTrace.fading": Change("played", {f"{P}.trace.fading": "rayleigh", f"{P}.trace.rician_k_db": None}, DRAWN),
    "GeneratedTrace.mean_snr_db": Change("played", {f"{P}.trace.mean_snr_db": -10}, DRAWN),
    "GeneratedTrace.rician_k_db": Change("played", {f"{P}.trace.rician_k_db": 20}, DRAWN),
    "GeneratedTrace.block_s": Change("played", {f"{P}.trace.block_s": 0.05}, DRAWN),
    "GeneratedTrace.duration_s": Change("played", {f"{P}.trace.duration_s": 1}, DRAWN),
    "GeneratedTrace.shadowing_db": Change("played", {f"{P}.trace.shadowing_db": 1}, DRAWN),
    "GeneratedTrace.shadowing_coherence_s": Change("played", {f"{P}.trace.shadowing_coherence_s": 0.1}, DRAWN),
    "GeneratedTrace.distances_m": Change("played", {f"{P}.trace.distances_m": [1, 30]}, DRAWN),
    "GeneratedTrace.path_loss_exponent": Change("played", {f"{P}.trace.path_loss_exponent": 2}, DRAWN),
    "Objective.minimise": Change("planned", {"objective.minimise": "round-latency"}, {f"{T}.modes": ["fo", "zo-loss"]}),
    "Objective.target_accuracy": Change("refused", {"objective.target_accuracy": 0.7}, TARGET),
    "Objective.target_score": Change("refused", {"objective.target_score": 0.7}, TARGET),
    "Objective.target_loss": Change("refused", {"objective.target_loss": 0.7}, TARGET),
    "Objective.pilot_file": Change("refused", {"objective.pilot_file": "absent.yaml"}),
    "Objective.pilot": Change("planned", TARGET),
    "Objective.minimum_progress": Change(
        "planned",
        {"objective.minimum_progress": 1},
        {f"{T}.modes": ["fo", "zo-loss"], "objective.minimise": "round-latency"},
    ),
    "Objective.coverage": Change(
        "planned", {"objective.coverage": 1}, {f"{T}.modes": ["fo", "zo-loss"], "objective.minimise": "round-latency"}
    ),
    "Objective.energy_cap_j": Change("refused", {"objective.energy_cap_j": 1e-9}),
    "Objective.links": Change("refused", {"objective.links": "recorded"}),
    "Objective.statistic": Change(
        "planned", {"objective.statistic": "p95"}, RECORDED | {"objective.links": "recorded", "objective.windows": 4}
    ),
    "Objective.windows": Change(
        "planned", {"objective.windows": 6}, RECORDED | {"objective.links": "recorded", "objective.windows": 4}
    ),
    "Objective.late": Change("planned", {"objective.late": "skip"}),
    "Objective.deadline_s": Change("planned", {"objective.deadline_s": 99}, {"objective.late": "skip"}),
    "Objective.gradient_split": Change("planned", {"objective.gradient_split": "measured"}, PROJECTED),
    "Objective.gradient_noise_scale": Change(
        "planned", {"objective.gradient_noise_scale": 500}, {f"{T}.batch_sizes": [2, 4]}
    ),
    "PilotConstants.formula": Change("refused", {"objective.pilot.formula": 1}, TARGET),
    "PilotConstants.target_accuracy": Change("refused", {"objective.pilot.target_loss": 0.4}, TARGET),
    "PilotConstants.target_score": Change("refused", {"objective.pilot.target_score": 0.4}, TARGET),
    "PilotConstants.target_loss": Change("refused", {"objective.pilot.target_accuracy": None}, TARGET),
    "PilotConstants.rounds": Change("planned", {"objective.pilot.rounds": 9}, TARGET),
    "PilotConstants.batch_noise": Change("planned", {"objective.pilot.batch_noise": 2}, TARGET),
    "PilotConstants.untrained_clients": Change("planned", {"objective.pilot.untrained_clients": 2}, TARGET | PROJECTED),
    "PilotConstants.untrained_blocks": Change("planned", {"objective.pilot.untrained_blocks": 2}, TARGET | PROJECTED),
    "PilotConstants.estimate_noise": Change("planned", {"objective.pilot.estimate_noise": 0.3}, TARGET | PROJECTED),
    "PilotConstants.drift": Change(
        "planned", {"objective.pilot.drift": 0.4}, TARGET | {"objective.pilot.client_drift": {"pi-0": 0.5, "orin-0": 1}}
    ),
    "PilotConstants.client_drift": Change(
        "planned", {"objective.pilot.client_drift": {"pi-0": 0.5}}, TARGET | {"objective.pilot.drift": 0.4}
    ),
    "PilotConstants.untrained_skew": Change(
        "planned",
        {"objective.pilot.untrained_skew": 0.4},
        TARGET | PROJECTED | {"objective.pilot.client_skew": {"pi-0": 0.5, "orin-0": 1}},
    ),
    "PilotConstants.untrained_noise": Change(
        "planned", {"objective.pilot.untrained_noise": 2}, TARGET | {"training.modes": ["zo-projection"]}
    ),
    "PilotConstants.client_skew": Change(
        "planned",
        {"objective.pilot.client_skew": {"pi-0": 0.5}},
        TARGET | PROJECTED | {"objective.pilot.untrained_skew": 0.4},
    ),
    "PilotConstants.num_seeds": Change("refused", {"objective.pilot.num_seeds": 0}, TARGET),
    "PilotConstants.held_out_error": Change("planned", {"objective.pilot.held_out_error": 0.9}, TARGET),
    "PilotConstants.num_pilots": Change("refused", {"objective.pilot.num_pilots": 0}, TARGET),
    "PilotConstants.block_share": Change(
        "planned", {"objective.pilot.block_share": [0.9, 0.1, 0, 0, 0, 0]}, TARGET | PROJECTED
    ),
    "PilotConstants.fitted_for": Change("refused", {"objective.pilot.fitted_for": {"model": "another"}}, TARGET),
    "Device.fp32_flops_per_s": Change("planned", {"devices.mine.fp32_flops_per_s": "1 GFLOP/s"}, MINE),
    "Device.memory_bandwidth_bytes_per_s": Change(
        "planned", {"devices.mine.memory_bandwidth_bytes_per_s": "1 GB/s"}, MINE
    ),
    "Device.memory_bytes": Change("refused", {"devices.mine.memory_bytes": "1 KiB"}, MINE),
    "Device.max_power_w": Change("planned", {"devices.mine.max_power_w": 12}, MINE),
    "Device.efficiency": Change("planned", {EFFICIENCY: {"matmul": 0.1, "convolution": 0.1, "memory": 0.1}}, MINE),
    "Device.cuda": Change("planned", GPU, MINE),
    "Device.can_train": Change("refused", {"devices.mine.can_train": False}, MINE),
    "Device.confidence": Change("planned", {"devices.mine.confidence": "measured"}, MINE),
    "RooflineEfficiency.matmul": Change("planned", {f"{EFFICIENCY}.matmul": 0.01}, MINE),
    "RooflineEfficiency.convolution": Change("planned", {f"{EFFICIENCY}.convolution": 0.01}, MINE),
    "RooflineEfficiency.memory": Change("planned", {f"{EFFICIENCY}.memory": 0.01}, MINE),
    "RooflineEfficiency.pointwise_forward": Change(
        "planned", {f"{EFFICIENCY}.pointwise_forward": 0.001}, MINE | GROUPED
    ),
    "RooflineEfficiency.grouped_forward": Change("planned", {f"{EFFICIENCY}.grouped_forward": 0.001}, MINE | GROUPED),
    "RooflineEfficiency.grouped_backward": Change("planned", {f"{EFFICIENCY}.grouped_backward": 0.001}, MINE | GROUPED),
    "RooflineEfficiency.grouped_call_s": Change("planned", {f"{EFFICIENCY}.grouped_call_s": 0.1}, MINE | GROUPED),
    "RooflineEfficiency.operator_call_s": Change("planned", {f"{EFFICIENCY}.operator_call_s": 0.1}, MINE),
    "RooflineEfficiency.random_numbers_per_s": Change(
        "planned", {f"{EFFICIENCY}.random_numbers_per_s": 10}, MINE | PROJECTED
    ),
    "RooflineEfficiency.unfolds_convolutions": Change("planned", {f"{EFFICIENCY}.unfolds_convolutions": True}, MINE),
    "RooflineEfficiency.arithmetic_hides_traffic": Change(
        "planned", {f"{EFFICIENCY}.arithmetic_hides_traffic": False}, MINE
    ),
    "Cuda.multiprocessors": Change("planned", {"devices.mine.cuda.multiprocessors": 1}, MANY_ROWS),
    "Cuda.threads_per_multiprocessor": Change(
        "planned", {"devices.mine.cuda.threads_per_multiprocessor": 32}, MANY_ROWS
    ),
    "Cuda.cublas_workspace_bytes": Change("planned", {"devices.mine.cuda.cublas_workspace_bytes": "90 MiB"}, GPU),
}

_DELAYS = ("latency_s", "uplink_latency_s", "downlink_latency_s")
CHANGES |= {
    f"{kind}.{name}": Change("planned", {f"{P}.{name}": 0.5}, given)
    for kind, given in (("FixedLink", {}), ("ShannonLink", SHANNON), ("RatedLink", RATED))
    for name in _DELAYS
}
CHANGES |= {
    f"{kind}.trace": Change("played", DRAWN, given)
    for kind, given in (("FixedLink", {}), ("ShannonLink", SHANNON), ("RatedLink", RATED))
}

IN_OTHER_TESTS = {
    "Training.replanning": "tests/orchestrator/replanning/test_following.py",
    "Replanning.policy": "tests/orchestrator/replanning/test_following.py",
    **dict.fromkeys(
        [
            f"Replanning.{key}"
            for key in ("every_rounds", "change", "hysteresis_rounds", "gain", "window_rounds", "horizon_rounds")
        ],
        "tests/orchestrator/replanning/test_policies.py",
    ),
    "MemoryOverTime.past_the_end": "tests/runtime/replay/test_memory_trace.py",
    "Objective.least_data_seen": "tests/orchestrator/test_late.py",
    "Device.price": "tests/orchestrator/test_what_if.py",
    "Faults.client_timeout_s": "tests/runtime/faults/test_clients.py",
    "Faults.policy": "tests/orchestrator/test_training.py",
    "ClientGroup.ray_resource": "tests/orchestrator/doctor/test_two_machines.py",
    "Faults.worker_retries": "tests/runtime/faults/test_clients.py",
    **dict.fromkeys(
        [f"Variant.{key}" for key in ("variant", "width", "depth", "config", "choices", "accuracy", "accuracy_is")],
        "tests/orchestrator/search/test_search.py",
    ),
    **dict.fromkeys(
        [f"Variant.{key}" for key in ("test_score", "test_score_is")], "tests/orchestrator/search/test_other_scores.py"
    ),
    **dict.fromkeys(
        [f"Variant.{key}" for key in ("kernel", "arguments", "checkpoint")],
        "tests/orchestrator/search/test_candidates.py",
    ),
}
"""Keys whose effect takes a device's worker, a price list or minutes to show, and where it is tested."""
FOR_PEOPLE = {
    "Scenario.name", "Scenario.description", "Device.name", "Device.kind", "Device.source", "Device.power_modes_w",
    "Device.idle_power_w",
    "PilotConstants.not_identified",
}  # fmt: skip
"""Keys that are shown and change no figure."""
CHOOSE_A_VARIANT = {"source", "scheme", "method", "name"}
"""Keys whose values are the variants of a section; each variant is another section here."""
