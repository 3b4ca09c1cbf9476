# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""vLLM's own scheduler, cache manager and configuration with the connector; only the model runner is ours.

Its values are a function of all tokens up to them, so that a wrong one is seen, as is every token that a request gets.
Scheduling is one step after the other, or, as vLLM does by itself, a step ahead of what has been computed.
Skipped where vLLM, or what it needs to configure itself, is not installed.
"""

import collections
import json

import pytest

torch = pytest.importorskip("torch")
for module in ("vllm.config", "vllm.v1.core.sched.scheduler"):
    pytest.importorskip(module, reason="vLLM is not installed", exc_type=ImportError)
from test_serving import BLOCK, DIM, HEADS, LAYERS, STORE_BLOCK, prompt, values_of  # noqa: E402
from test_vllm import make_request  # noqa: E402

VOCABULARY = 5000


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HEADS * DIM,
              "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
              "num_key_value_heads": HEADS, "head_dim": DIM, "vocab_size": VOCABULARY, "max_position_embeddings": 2048,
              "torch_dtype": "bfloat16", "rope_theta": 10000.0}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def config_of(model, path, ahead, **options):
    from vllm.config import (
        CacheConfig,
        DeviceConfig,
        KVTransferConfig,
        ModelConfig,
        SchedulerConfig,
        VllmConfig,
    )

    return VllmConfig(
        model_config=ModelConfig(model=str(model), dtype="bfloat16", skip_tokenizer_init=True, max_model_len=1024),
        scheduler_config=SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=1024, max_model_len=1024,
                                         is_encoder_decoder=False, async_scheduling=ahead),
        cache_config=CacheConfig(block_size=BLOCK, enable_prefix_caching=True),
        kv_transfer_config=KVTransferConfig(
            kv_connector="SeqkvConnector", kv_connector_module_path="seqkv.vllm", kv_role="kv_both",
            kv_buffer_device="cpu", kv_load_failure_policy="recompute",
            kv_connector_extra_config={"path": str(path), "block_tokens": STORE_BLOCK, "layout": "BHN2D", **options}),
        device_config=DeviceConfig("cpu"),
    )  # fmt: skip


@pytest.fixture(params=[False, True], ids=["one by one", "ahead"])
def ahead(request):
    return request.param


class Engine:
    def __init__(self, model, path, ahead, blocks=64, **options):
        from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
        from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.structured_output import StructuredOutputManager
        from vllm.utils.hashing import sha256

        names = [f"model.layers.{i}.self_attn.attn" for i in range(LAYERS)]
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=HEADS, head_size=DIM, dtype=torch.bfloat16)
        caches = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[],
                               kv_cache_groups=[KVCacheGroupSpec(layer_names=names, kv_cache_spec=spec)])
        config = config_of(model, path, ahead, **options)
        config.cache_config.num_gpu_blocks = blocks
        self.scheduler = (AsyncScheduler if ahead else Scheduler)(config, caches, StructuredOutputManager(config), BLOCK)
        self.worker = KVConnectorFactory.create_connector(config, KVConnectorRole.WORKER, caches)
        self.worker.register_kv_caches({
            name: torch.full((blocks, BLOCK, HEADS, 2 * DIM), 9.0, dtype=torch.bfloat16).transpose(1, 2)
            for name in names
        })
        init_none_hash(sha256)
        self.hasher = get_request_block_hasher(BLOCK, sha256)
        self.tables, self.tokens, self.loaded, self.text = {}, {}, {}, {}
        self.ahead, self.computed = ahead, collections.deque()

    def add(self, name, tokens, generate=4):
        request = make_request(name, list(tokens), block_hasher=self.hasher)
        request.sampling_params.max_tokens = request.max_tokens = generate
        request.sampling_params.ignore_eos = True
        self.tokens[name] = request
        self.text[name] = list(tokens)
        self.scheduler.add_request(request)
        return request

    def step(self):
        """Schedules and computes a step, and tells the scheduler of it, or, ahead, of the one before. Returns blocks of
        which it was told that they failed."""
        output = self.scheduler.schedule()
        self.computed.append((output, *self.execute(output)))
        failed = set()
        while len(self.computed) > (self.ahead and output.total_num_scheduled_tokens > 0):
            earlier, result, missing = self.computed.popleft()
            self.scheduler.update_from_output(earlier, result)
            failed |= missing
        return failed

    def execute(self, output):
        """What the model runner does, in its order."""
        from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput

        before = {}
        for new in output.scheduled_new_reqs:
            self.tables[new.req_id] = list(new.block_ids[0])
            before[new.req_id] = new.num_computed_tokens
            self.loaded.setdefault(new.req_id, []).append(new.num_computed_tokens)
        cached = output.scheduled_cached_reqs
        for i, name in enumerate(cached.req_ids):
            ids = list(cached.new_block_ids[i][0]) if cached.new_block_ids[i] else []
            if name in cached.resumed_req_ids:
                self.tables[name] = ids
                self.loaded[name].append(cached.num_computed_tokens[i])
            else:
                self.tables[name] += ids
            before[name] = cached.num_computed_tokens[i]
        worker = self.worker
        worker.bind_connector_metadata(output.kv_connector_metadata)
        worker.start_load_kv(None)
        right, sampled = {}, []
        for name, count in output.num_scheduled_tokens.items():
            last = before[name] + count
            known = list(self.tokens[name].all_token_ids)
            # What the scheduler knows counts; behind that is what was generated since.
            text = known + self.text[name][len(known):] if last > len(known) else known
            right[name] = self.forward(name, text, before[name], last)
            # A prompt that is in parts has no token before the last of them.
            whole = last >= len(text)
            self.text[name] = text[:last] + ([1 + last % 7] if whole else text[last:])
            sampled.append([1 + last % 7] if whole else [])
        worker.wait_for_save()
        received = worker.get_transfer_results(set(output.finished_req_ids)).finished_recving
        failed = worker.get_block_ids_with_load_errors()
        worker.clear_connector_metadata()
        names = list(output.num_scheduled_tokens)
        assert all(right.values()), f"{right}: ran on wrong values"
        return ModelRunnerOutput(
            req_ids=names, req_id_to_index={n: i for i, n in enumerate(names)}, sampled_token_ids=sampled,
            kv_connector_output=KVConnectorOutput(invalid_block_ids=failed, finished_recving=received)), failed

    def forward(self, name, text, first, last):
        """Computes tokens [first, last), and says whether all before them are what they should be."""
        pages, table = self.worker._worker.pages, self.tables[name]
        right = values_of(text[:last])
        found = pages.gather(table, 0, first)
        pages.scatter(table, first, [(k[:, first:], v[:, first:]) for k, v in right])
        return all(torch.equal(w[:, :first], f) for pair, got in zip(right, found) for w, f in zip(pair, got))

    def run(self, most=200):
        """Until all requests have finished. Returns all blocks that failed."""
        failed = set()
        for _ in range(most):
            if not self.scheduler.has_unfinished_requests() and not self.computed:
                return failed
            failed |= self.step()
        raise AssertionError("requests do not end")

    def forget(self):
        """The engine's own prefix cache."""
        assert self.scheduler.kv_cache_manager.reset_prefix_cache()

    def close(self):
        self.scheduler.connector.shutdown()
        self.worker.shutdown()


def test_prompts_come_from_the_store(model_folder, tmp_path, ahead):
    engine = Engine(model_folder, tmp_path / "kv", ahead)
    tokens = prompt(100)
    engine.add("one", tokens)
    assert engine.run() == set()
    engine.forget()
    engine.add("same", tokens)
    engine.add("longer", tokens + prompt(60, 2))
    engine.add("other", prompt(90, 3))
    assert engine.run() == set()
    assert engine.loaded == {"one": [0], "same": [96], "longer": [96], "other": [0]}
    assert [len(engine.tokens[n].output_token_ids) for n in ("same", "longer", "other")] == [4, 4, 4]
    engine.close()
    # Another day, another process.
    engine = Engine(model_folder, tmp_path / "kv", ahead)
    engine.add("again", tokens + prompt(60, 2))
    assert engine.run() == set()
    assert engine.loaded == {"again": [144]}, "160 are stored: the engine's block with the last token is computed"
    engine.close()


def test_the_engines_own_cache_comes_first(model_folder, tmp_path, ahead):
    engine = Engine(model_folder, tmp_path / "kv", ahead)
    tokens = prompt(100)
    engine.add("one", tokens)
    engine.run()
    engine.add("two", tokens)
    asked = []
    load = engine.worker._worker.load
    engine.worker._worker.load = lambda loads: (asked.extend(loads), load(loads))
    assert engine.run() == set()
    assert engine.loaded["two"] == [96] and asked == []
    engine.close()


def test_damage_is_computed_again(model_folder, tmp_path, ahead):
    engine = Engine(model_folder, tmp_path / "kv", ahead)
    tokens = prompt(140)
    engine.add("one", tokens)
    engine.run()
    engine.forget()
    request = engine.add("two", tokens)
    # Between what the scheduler reads of the store and what the worker does.
    load = engine.worker._worker.load

    def damage(loads):
        if loads:
            pack = next((tmp_path / "kv" / "shard-0-of-1" / "packs").glob("*"))
            data = bytearray(pack.read_bytes())
            data[len(data) // 2] ^= 1
            pack.write_bytes(data)
            engine.worker._worker.load = load
        load(loads)

    engine.worker._worker.load = damage
    failed = engine.step()
    assert failed and not request.output_token_ids, "nothing ran before it was loaded"
    assert engine.run() == set(), "and every value is right"
    assert len(request.output_token_ids) == 4
    engine.close()


def test_preempted_requests_resume_from_the_store(model_folder, tmp_path, ahead):
    """Too few blocks for two requests that generate: one loses its own, and finds its prompt in the store."""
    engine = Engine(model_folder, tmp_path / "kv", ahead, blocks=15)
    engine.add("one", prompt(96, 1), generate=40)
    engine.add("two", prompt(96, 2), generate=40)
    assert engine.run() == set()
    assert any(len(starts) > 1 for starts in engine.loaded.values()), "one was preempted"
    assert all(start in (0, 80, 96) for starts in engine.loaded.values() for start in starts)
    assert all(len(engine.tokens[n].output_token_ids) == 40 for n in ("one", "two"))
    engine.close()
