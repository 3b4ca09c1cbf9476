# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The connector under vLLM's own classes: its base class, factory, configuration of caches, requests, scheduler outputs.

Models do not run here: what an engine does between the calls is in test_serving.py. Skipped where vLLM is not installed.
"""

import dataclasses
import types

import pytest

torch = pytest.importorskip("torch")
vllm_base = pytest.importorskip(
    "vllm.distributed.kv_transfer.kv_connector.v1.base", reason="vLLM is not installed", exc_type=ImportError
)
from test_serving import BLOCK, BLOCKS, DIM, HEADS, LAYERS, STORE_BLOCK, prompt, values_of  # noqa: E402

import seqkv  # noqa: E402
from seqkv.vllm import SeqkvConnector, SeqkvMetadata  # noqa: E402

ROLE = vllm_base.KVConnectorRole


def kv_transfer_config(path, **options):
    from vllm.config.kv_transfer import KVTransferConfig

    return KVTransferConfig(
        kv_connector="SeqkvConnector", kv_connector_module_path="seqkv.vllm", kv_role="kv_both", kv_buffer_device="cpu",
        kv_load_failure_policy="recompute",
        kv_connector_extra_config={"path": str(path), "block_tokens": STORE_BLOCK, **options},
    )  # fmt: skip


def vllm_config(path, workers=1, rank=0, **options):
    """What the connector reads of a VllmConfig, which itself cannot be made without a platform."""
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=64, num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=DIM,
                         num_hidden_layers=LAYERS)
    return types.SimpleNamespace(
        kv_transfer_config=kv_transfer_config(path, **options),
        parallel_config=types.SimpleNamespace(tensor_parallel_size=workers, pipeline_parallel_size=1, rank=rank,
                                              decode_context_parallel_size=1, prefill_context_parallel_size=1),
        model_config=types.SimpleNamespace(hf_config=config, model="a/model", revision=None, quantization=None,
                                           dtype=torch.bfloat16),
        scheduler_config=types.SimpleNamespace(disable_hybrid_kv_cache_manager=True),
    )


def cache_config(workers=1, spec=None, groups=1):
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

    spec = spec or FullAttentionSpec(block_size=BLOCK, num_kv_heads=HEADS // workers, head_size=DIM,
                                     dtype=torch.bfloat16)
    names = [f"model.layers.{i}.self_attn.attn" for i in range(LAYERS)]
    return KVCacheConfig(num_blocks=BLOCKS, kv_cache_tensors=[],
                         kv_cache_groups=[KVCacheGroupSpec(layer_names=names, kv_cache_spec=spec)] * groups)


def make_request(name, tokens, **options):
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    return Request(request_id=name, prompt_token_ids=tokens, sampling_params=SamplingParams(max_tokens=8),
                   pooling_params=None, **options)


def make_output(new=(), cached=(), resumed=()):
    from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput

    output = SchedulerOutput.make_empty()
    for request, blocks, scheduled in new:
        output.scheduled_new_reqs.append(NewRequestData.from_request(request, (blocks,)))
        output.num_scheduled_tokens[request.request_id] = scheduled
    data = CachedRequestData.make_empty()
    for request, blocks, scheduled in cached:
        data.req_ids.append(request.request_id)
        data.new_block_ids.append((blocks,) if blocks else None)
        data.num_computed_tokens.append(request.num_computed_tokens)
        data.num_output_tokens.append(0)
        output.num_scheduled_tokens[request.request_id] = scheduled
    data.resumed_req_ids.update(resumed)
    output.scheduled_cached_reqs = data
    return output


def blocks_of(ids):
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.kv_cache_utils import KVCacheBlock

    return KVCacheBlocks(([KVCacheBlock(block_id=i) for i in ids],))


class Side:
    """A scheduler and its workers, as vLLM makes them: through its factory."""

    def __init__(self, path, workers=1, **options):
        from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

        make = KVConnectorFactory.create_connector
        self.scheduler = make(vllm_config(path, workers, **options), ROLE.SCHEDULER, cache_config(workers))
        self.workers, self.tensors = [], []
        for rank in range(workers):
            worker = make(vllm_config(path, workers, rank, layout="BHN2D", **options), ROLE.WORKER,
                          cache_config(workers))
            # Standardized views [B, H, N, C] of memory in another order, as vLLM 0.33 hands them out.
            tensors = {name: torch.full((BLOCKS, BLOCK, HEADS // workers, 2 * DIM), 9.0, dtype=torch.bfloat16)
                       .transpose(1, 2) for name in cache_config(workers).kv_cache_groups[0].layer_names}
            worker.register_kv_caches(tensors)
            self.workers.append(worker)
            self.tensors.append(tensors)
        self.computed_by_model = set()

    def pages(self, rank):
        return self.workers[rank]._worker.pages

    def heads(self, rank):
        share = HEADS // len(self.workers)
        return slice(rank * share, (rank + 1) * share)

    def schedule(self, request, ids, computed=0):
        external, waits = self.scheduler.get_num_new_matched_tokens(request, computed)
        assert waits == (external > 0)
        self.scheduler.update_state_after_alloc(request, blocks_of(ids), external)
        request.num_computed_tokens = computed + external
        return external

    def step(self, output, before=lambda: None):
        """The order of vLLM's model runner."""
        metadata = self.scheduler.build_connector_meta(output)
        assert isinstance(metadata, SeqkvMetadata)
        before()
        invalid = set()
        for worker in self.workers:
            worker.bind_connector_metadata(metadata)
            worker.start_load_kv(None)
        yield
        for worker in self.workers:
            worker.wait_for_layer_load("any")
            worker.save_kv_layer("any", None, None)
            worker.wait_for_save()
            worker.get_transfer_results(set(output.finished_req_ids))
            invalid |= worker.get_block_ids_with_load_errors()
            worker.clear_connector_metadata()
        from vllm.v1.outputs import KVConnectorOutput

        self.scheduler.update_connector_output(KVConnectorOutput(invalid_block_ids=invalid))
        yield invalid

    def run(self, request, ids, output, tokens):
        """A step in which the model computes what was not loaded. Returns the blocks that failed."""
        step = self.step(output)
        next(step)
        for rank in range(len(self.workers)):
            first = request.num_computed_tokens
            layers = values_of(tokens, self.heads(rank))
            self.pages(rank).scatter(ids, first, [(k[:, first:], v[:, first:]) for k, v in layers])
        return next(step)

    def check(self, ids, tokens):
        for rank in range(len(self.workers)):
            for wanted, found in zip(values_of(tokens, self.heads(rank)), self.pages(rank).gather(ids, 0, len(tokens))):
                assert torch.equal(wanted[0], found[0]) and torch.equal(wanted[1], found[1])

    def close(self):
        self.scheduler.shutdown()
        for worker in self.workers:
            worker.shutdown()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_prompt_is_computed_once(tmp_path, workers):
    side = Side(tmp_path / "kv", workers)
    tokens = prompt(100)
    request = make_request("one", tokens)
    ids = list(range(7))
    assert side.schedule(request, ids) == 0
    assert side.run(request, ids, make_output(new=[(request, ids, 100)]), tokens) == set()
    assert side.scheduler.request_finished(request, ids) == (False, None)

    again = make_request("two", tokens)
    ids = list(range(20, 27))
    assert side.schedule(again, ids) == 96
    assert side.run(again, ids, make_output(new=[(again, ids, 4)]), tokens) == set()
    side.check(ids, tokens)

    local = make_request("three", tokens)
    assert side.scheduler.get_num_new_matched_tokens(local, 64) == (32, True)
    assert side.scheduler.get_num_new_matched_tokens(local, 96) == (0, False)
    side.close()


def test_chunks_and_a_request_that_resumes(tmp_path):
    side = Side(tmp_path / "kv")
    tokens = prompt(100)
    request = make_request("one", tokens)
    side.schedule(request, [0, 1, 2])
    side.run(request, [0, 1, 2], make_output(new=[(request, [0, 1, 2], 48)]), tokens[:48])
    request.num_computed_tokens = 48
    ids = list(range(7))
    side.run(request, ids, make_output(cached=[(request, [3, 4, 5, 6], 52)]), tokens)
    # Preempted: it lost its blocks, and comes back with others.
    ids = list(range(40, 47))
    assert side.schedule(request, ids) == 96
    output = make_output(cached=[(request, ids, 4)], resumed=["one"])
    assert side.run(request, ids, output, tokens) == set()
    side.check(ids, tokens)
    side.close()


def test_load_errors_are_reported_by_block(tmp_path):
    side = Side(tmp_path / "kv")
    tokens = prompt(140)
    request = make_request("one", tokens)
    ids = list(range(9))
    side.schedule(request, ids)
    side.run(request, ids, make_output(new=[(request, ids, 140)]), tokens)
    again = make_request("two", tokens)
    ids = list(range(20, 29))
    assert side.schedule(again, ids) == 128
    pack = next((tmp_path / "kv" / "shard-0-of-1" / "packs").glob("*"))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    invalid = side.run(again, ids, make_output(new=[(again, ids, 12)]), tokens)
    assert invalid and min(invalid) > 20 and invalid == set(range(min(invalid), 28))
    good = (min(invalid) - 20) * BLOCK
    side.check(ids[: min(invalid) - 20], tokens[:good])
    assert side.scheduler.get_num_new_matched_tokens(make_request("three", tokens), 0) == (good, True)
    side.close()


@pytest.mark.parametrize("options", [{"cache_salt": "tenant"}, {"lora_request": types.SimpleNamespace(adapter_id=1)}])
def test_what_depends_on_more_than_tokens_is_left_alone(tmp_path, options):
    side = Side(tmp_path / "kv")
    tokens = prompt(100)
    request = make_request("one", tokens)
    ids = list(range(7))
    side.schedule(request, ids)
    side.run(request, ids, make_output(new=[(request, ids, 100)]), tokens)
    other = make_request("two", tokens, **options)
    assert side.schedule(other, ids) == 0
    side.close()


def test_what_is_not_supported_is_refused_at_the_start(tmp_path):
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    def spec(**changes):
        return FullAttentionSpec(**{"block_size": BLOCK, "num_kv_heads": HEADS, "head_size": DIM,
                                    "dtype": torch.bfloat16, **changes})

    def make(config=None, caches=None):
        return SeqkvConnector(config or vllm_config(tmp_path), ROLE.SCHEDULER, caches or cache_config())

    with pytest.raises(ValueError, match="2 kinds of caches"):
        make(caches=cache_config(groups=2))
    with pytest.raises(ValueError, match="float8"):
        make(caches=cache_config(spec=spec(dtype=torch.float8_e4m3fn)))
    with pytest.raises(ValueError, match="different sizes"):
        make(caches=cache_config(spec=spec(head_size_v=2 * DIM)))
    config = vllm_config(tmp_path)
    config.parallel_config.pipeline_parallel_size = 2
    with pytest.raises(ValueError, match="pipeline_parallel_size is 2"):
        make(config)
    with pytest.raises(ValueError, match="path"):
        make(dataclass_with(vllm_config(tmp_path), {}))
    worker = SeqkvConnector(vllm_config(tmp_path), ROLE.WORKER, cache_config())
    with pytest.raises(ValueError, match="CPU"):
        worker.register_kv_caches({"model.layers.0.attn": torch.zeros(BLOCKS, HEADS, BLOCK, 2 * DIM)})


def dataclass_with(config, extra):
    config.kv_transfer_config = dataclasses.replace(config.kv_transfer_config, kv_connector_extra_config=extra)
    return config


def test_another_model_is_refused(tmp_path):
    Side(tmp_path / "kv").close()
    config = vllm_config(tmp_path / "kv", layout="BHN2D")
    config.model_config.model = "another/model"
    worker = SeqkvConnector(config, ROLE.WORKER, cache_config())
    tensors = {f"model.layers.{i}.attn": torch.zeros(BLOCKS, HEADS, BLOCK, 2 * DIM, dtype=torch.bfloat16)
               for i in range(LAYERS)}
    with pytest.raises(seqkv.Error):
        worker.register_kv_caches(tensors)


def test_all_that_vllm_asks_for_is_there():
    missing = getattr(SeqkvConnector, "__abstractmethods__", frozenset())
    assert not missing
