# Copyright Spack Project Developers. See COPYRIGHT file for details.
#
# SPDX-License-Identifier: (Apache-2.0 OR MIT)

from spack_repo.builtin.build_systems.cmake import CMakePackage
from spack_repo.builtin.build_systems.cuda import CudaPackage
from spack_repo.builtin.build_systems.rocm import ROCmPackage

from spack.package import *


class Seqkv(CMakePackage, CudaPackage, ROCmPackage):
    """seqkv compresses, stores and restores the KV caches of transformer language
    models as sequences of tokens: predictive codecs, prefix deduplication, a
    transactional store, and batches on many MPI ranks, on Kokkos."""

    homepage = "https://arxiv.org/abs/2604.15356"
    # Not released yet: a site puts the address of its clone here.
    git = "file:///path/to/seqkv"

    license("Apache-2.0", checked_by="seqkv")

    version("main", branch="main")

    variant("mpi", default=True, description="Batches and tries on many ranks")
    variant("tbb", default=True, description="Overlap input, output and coding with oneTBB")
    variant("shared", default=False, description="Build shared libraries")

    depends_on("cxx", type="build")

    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("kokkos@4.4:5 +openmp +serial cxxstd=20")
    # nvcc 12.9 and 13 compile the mdspan-based View of 4.6 and later wrongly.
    depends_on("kokkos@4.4:4.5 +cuda +wrapper", when="+cuda")
    depends_on("kokkos +rocm", when="+rocm")
    for _arch in CudaPackage.cuda_arch_values:
        depends_on(f"kokkos cuda_arch={_arch}", when=f"+cuda cuda_arch={_arch}")
    for _target in ROCmPackage.amdgpu_targets:
        depends_on(f"kokkos amdgpu_target={_target}", when=f"+rocm amdgpu_target={_target}")

    depends_on("mpi@3.1:", when="+mpi")
    depends_on("intel-oneapi-tbb@2021:", when="+tbb")
    depends_on("cli11", type="build")
    depends_on("eigen@3.3:", type="build")
    depends_on("fmt@8:")
    depends_on("nlohmann-json@3.9:")
    depends_on("openssl@1.1.1:")
    depends_on("pcre2")
    depends_on("sqlite@3.24:")
    depends_on("utf8proc")
    depends_on("xxhash@0.8:")
    depends_on("xz")
    depends_on("zstd")

    generator("ninja")

    conflicts("+cuda", when="cuda_arch=none")
    conflicts("+rocm", when="amdgpu_target=none")
    conflicts("+cuda", when="+rocm", msg="One kind of device a build")
    conflicts("%gcc@:11", msg="C++20 as of GCC 12 is needed")
    conflicts("%clang@:13", msg="C++20 as of Clang 14 is needed")

    def cmake_args(self):
        args = [
            self.define_from_variant("BUILD_SHARED_LIBS", "shared"),
            self.define_from_variant("SEQKV_ENABLE_CUDA", "cuda"),
            self.define_from_variant("SEQKV_ENABLE_HIP", "rocm"),
            self.define_from_variant("SEQKV_ENABLE_MPI", "mpi"),
            self.define_from_variant("SEQKV_ENABLE_TBB", "tbb"),
            self.define("CMAKE_UNITY_BUILD", True),
            self.define("SEQKV_ENABLE_TESTS", False),
            self.define("SEQKV_ENABLE_BENCHMARKS", False),
        ]
        if self.spec.satisfies("+cuda"):
            args.append(self.define("CMAKE_CXX_COMPILER", self["kokkos"].kokkos_cxx))
        if self.spec.satisfies("+rocm"):
            args.append(self.define("CMAKE_CXX_COMPILER", self.spec["hip"].hipcc))
        return args

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def restore_what_was_stored(self):
        """A cache of the embedded model through a frame and back, bit for bit."""
        seqkv = Executable(self.prefix.bin.seqkv)
        model = join_path(self.prefix.share, "seqkv", "models", "docs-7m")
        text = join_path(model, "README.md")
        with working_dir("smoke", create=True):
            model_and_text = ["--model", model, "--text", text]
            seqkv("prefill", *model_and_text, "--dtype", "bf16", "--out", "kv.safetensors")
            seqkv("compress", "kv.safetensors", "kv.sqkv", "--codec", "none+lossless")
            seqkv("decompress", "kv.sqkv", "restored.safetensors")
            seqkv("compare", "kv.safetensors", "restored.safetensors", "--tolerance", "0")
