# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""KV connector for vLLM (docs/python-adapters.md): prompts whose beginning is in a store are not computed again.

    vllm serve MODEL --kv-transfer-config '{
      "kv_connector": "SeqkvConnector", "kv_connector_module_path": "seqkv.vllm", "kv_role": "kv_both",
      "kv_load_failure_policy": "recompute", "kv_connector_extra_config": {"path": "/scratch/kv"}}'

Written for the v1 interface of vLLM 0.33; it imports vLLM's base class and nothing else of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)

from .paged import DTYPES, LayoutError, Pages
from .hf.config import rope_of_config
from .serving import Planner, Settings, Step, Worker

log = logging.getLogger("seqkv")


@dataclasses.dataclass
class SeqkvMetadata(KVConnectorMetadata):  # type: ignore[misc]
    """From the scheduler to the workers, once a step."""

    step: Step


def fingerprint_of(model_config: Any) -> str:
    """Names a model by its configuration and where it is from. Where its weights change under the same name and
    revision, or caches are to be shared with other programs, the option `model` says seqkv's own fingerprint."""
    config = model_config.hf_text_config if hasattr(model_config, "hf_text_config") else model_config.hf_config
    what = {
        "config": config.to_dict(),
        "model": str(model_config.model),
        "revision": getattr(model_config, "revision", None),
        "quantization": getattr(model_config, "quantization", None),
        "dtype": str(model_config.dtype),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


class SeqkvConnector(KVConnectorBase_V1):  # type: ignore[misc]
    """Requests wait for their load and are scheduled in a step after it, so that nothing runs on what could not be
    loaded, also where vLLM schedules ahead. Prompts are saved behind the forward pass that completes them."""

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any):
        super().__init__(vllm_config, role, kv_cache_config)
        self.settings = Settings.of(self._kv_transfer_config.kv_connector_extra_config)
        self._spec = _only_spec(kv_cache_config)
        self._block_size = self._spec.block_size
        parallel = vllm_config.parallel_config
        for name in ("pipeline_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size"):
            if getattr(parallel, name, 1) != 1:
                raise ValueError(f"seqkv: {name} is {getattr(parallel, name)}, only tensor parallelism is supported")
        self._workers = parallel.tensor_parallel_size
        self._rank = parallel.rank % self._workers
        self._planner: Planner | None = None
        self._worker: Worker | None = None
        if role == KVConnectorRole.SCHEDULER:
            self._planner = Planner(self.settings, self._workers, self._block_size)

    # ---- workers ----------------------------------------------------------------------------------------------------

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        devices = {tensor.device.type for tensor in kv_caches.values()}
        if devices == {"cpu"} and self.settings.layout is None:
            raise LayoutError("vLLM's attention on CPUs packs blocks in ways of its own; seqkv does not read them")
        pages = Pages.of(kv_caches, self._spec.num_kv_heads, self._spec.head_size, self._block_size,
                         self.settings.layout)
        model = self._vllm_config.model_config
        self._worker = Worker(self.settings, self._rank, self._workers, pages, model=fingerprint_of(model),
                              rope=rope_of_config(model.hf_config))

    def _step(self) -> Step:
        metadata = self._get_connector_metadata()
        assert isinstance(metadata, SeqkvMetadata)
        return metadata.step

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        if self._worker is not None:
            self._worker.load(self._step().loads)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """No request of this step waits for a layer."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """wait_for_save takes all layers together: one predicts another."""

    def wait_for_save(self) -> None:
        if self._worker is not None:
            self._worker.save(self._step().saves)

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        if self._worker is None:
            return None, None
        self._worker.finished(finished_req_ids)
        return None, self._worker.take_received()

    def get_block_ids_with_load_errors(self) -> set[int]:
        return self._worker.take_failed() if self._worker is not None else set()

    def shutdown(self) -> None:
        for side in (self._planner, self._worker):
            if side is not None:
                side.close()

    # ---- scheduler --------------------------------------------------------------------------------------------------

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        assert self._planner is not None
        if not _is_plain(request):
            return 0, False
        known = self._planner.matched(request.request_id, request.all_token_ids, num_computed_tokens)
        return known, known > 0

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        assert self._planner is not None
        if not _is_plain(request):
            return
        self._planner.allocated(request.request_id, request.all_token_ids, request.num_prompt_tokens,
                                blocks.get_block_ids()[0], num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> SeqkvMetadata:
        assert self._planner is not None
        saves = []
        scheduled = scheduler_output.num_scheduled_tokens
        for new in scheduler_output.scheduled_new_reqs:
            self._planner.more_blocks(new.req_id, new.block_ids[0], instead=True)
            saves.append(self._planner.computed(new.req_id, new.num_computed_tokens, scheduled[new.req_id]))
        cached = scheduler_output.scheduled_cached_reqs
        for i, request in enumerate(cached.req_ids):
            if cached.new_block_ids[i] is not None:
                self._planner.more_blocks(request, cached.new_block_ids[i][0], request in cached.resumed_req_ids)
            saves.append(self._planner.computed(request, cached.num_computed_tokens[i], scheduled[request]))
        return SeqkvMetadata(self._planner.step(saves))

    def update_connector_output(self, connector_output: Any) -> None:
        if connector_output.invalid_block_ids and self._planner is not None:
            self._planner.failed(set(connector_output.invalid_block_ids))

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        if self._planner is not None:
            self._planner.finished(request.request_id)
        return False, None

    @property
    def requires_kv_delivery(self) -> bool:
        return False  # a cache that was not saved is computed again


def _only_spec(kv_cache_config: Any) -> Any:
    """The cache of a model whose layers are all alike. Raises ValueError with what is not supported."""
    groups = kv_cache_config.kv_cache_groups
    if len(groups) != 1:
        raise ValueError(f"seqkv: a model with {len(groups)} kinds of caches is not supported")
    spec = groups[0].kv_cache_spec
    for name in ("num_kv_heads", "head_size", "block_size", "dtype"):
        if not hasattr(spec, name):
            raise ValueError(f"seqkv: a cache of {type(spec).__name__} is not supported")
    if "MLA" in type(spec).__name__ or getattr(spec, "head_size_v", spec.head_size) != spec.head_size:
        raise ValueError("seqkv: caches whose keys and values have different sizes are not supported")
    if spec.dtype not in DTYPES or getattr(spec, "state_content_bytes", None) is not None:
        raise ValueError(f"seqkv: a cache of {spec.dtype}: {', '.join(DTYPES.values())} are supported")
    return spec


def _is_plain(request: Any) -> bool:
    """Whether the cache of a request depends on its tokens alone, and it may be shared."""
    return not (
        getattr(request, "mm_features", None)
        or getattr(request, "lora_request", None) is not None
        or getattr(request, "prompt_embeds", None) is not None
        or getattr(request, "cache_salt", None)
        or getattr(request, "skip_reading_prefix_cache", False)
    )
