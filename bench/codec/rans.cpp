#include "codec/entropy/rans.hpp"

#include <benchmark/benchmark.h>
#include <cstring>
#include <cmath>
#include <random>
#include <vector>
#include "backends/cpu/kernels.hpp"
#include "backends/kokkos/rans.hpp"
namespace seqkv { namespace {
namespace rans = codec::rans;
std::vector<std::uint8_t> gaussian(double sigma){std::vector<std::uint8_t> d(64<<20);std::mt19937_64 e(1);std::normal_distribution<float> n(0,sigma);for(auto&x:d){int q=std::lrint(n(e));q=std::clamp(q,-15,15);x=q>=0?2*q:-2*q-1;}return d;}
struct Data{std::vector<std::uint8_t> d;std::vector<rans::Slot> slots;std::vector<rans::Code> codes;rans::Intervals iv;};
Data& data(){static Data x=[]{Data x;x.d=gaussian(1.94);std::vector<std::uint32_t> c(256);for(auto s:x.d)c[s]++;std::uint16_t f[256];rans::normalize(c.data(),f);x.slots.resize(4096);x.codes.resize(256);rans::fill_slots(f,x.slots.data());rans::fill_codes(f,x.codes.data());rans::fill_intervals(f,x.iv);double H=0;for(auto k:c)if(k)H-=k/(double)x.d.size()*std::log2(k/(double)x.d.size());std::printf("H=%f\n",H);return x;}();return x;}
void scalar_enc(const rans::EncodeTables&t,rans::Stream*s,std::int64_t n){kokkos::EncodeStream e{t,s};for(std::int64_t i=0;i<n;i++)e(i);}
void scalar_dec(const rans::DecodeTables&t,rans::Stream*s,std::int64_t n){kokkos::DecodeStream e{t,s};for(std::int64_t i=0;i<n;i++)e(i);}
template<class F> void enc(benchmark::State&st,F*f){auto&x=data();std::int64_t seg=st.range(0),n=x.d.size()/seg;std::vector<rans::Run> runs(n);std::vector<rans::Stream> s(n);std::vector<std::byte> room(x.d.size()*2+n*64);
 std::size_t bytes=0;for(auto _:st){for(std::int64_t i=0;i<n;i+=16){static std::vector<std::byte> r(16*(2*65536+64));for(int k=0;k<16;k++){runs[k]={&x.d[(i+k)*seg],seg,0};s[k]={&runs[k],1,r.data()+(k+1)*rans::most_bytes(seg),0};}f({x.codes.data(),&x.iv},s.data(),16);for(int k=0;k<16;k++)bytes+=s[k].bytes;}}
 st.SetBytesProcessed(st.iterations()*x.d.size());st.counters["ratio"]=bytes/(double)x.d.size()/st.iterations();}
template<class F> void dec(benchmark::State&st,F*f){auto&x=data();std::int64_t seg=st.range(0),n=x.d.size()/seg;std::vector<rans::Run> runs(n);std::vector<rans::Stream> s(n);std::vector<std::byte> all;std::vector<std::size_t> off;std::vector<std::byte> r(rans::most_bytes(seg));
 for(std::int64_t i=0;i<n;i++){rans::Run run{&x.d[i*seg],seg,0};rans::Stream t{&run,1,r.data()+r.size(),0};cpu::kernels()->rans_encode.with_gather({x.codes.data(),&x.iv},&t,1);off.push_back(all.size());all.insert(all.end(),t.coded,t.coded+t.bytes);}off.push_back(all.size());
 std::vector<std::uint8_t> o(x.d.size());
 for(auto _:st){for(std::int64_t i=0;i<n;i++){runs[i]={&o[i*seg],seg,0};s[i]={&runs[i],1,&all[off[i]],std::int64_t(off[i+1]-off[i])};}f({x.slots.data(),&x.iv},s.data(),n);}
 if(o!=x.d)std::printf("WRONG\n");
 st.SetBytesProcessed(st.iterations()*x.d.size());st.counters["ratio"]=all.size()/(double)x.d.size();}
#define B(name,k,w) void name##_enc_##w(benchmark::State&s){enc(s,cpu::kernels(k)->rans_encode.w);}BENCHMARK(name##_enc_##w)->Arg(4096)->Arg(16384);void name##_dec_##w(benchmark::State&s){dec(s,cpu::kernels(k)->rans_decode.w);}BENCHMARK(name##_dec_##w)->Arg(4096)->Arg(16384);
B(avx512,"avx512",with_gather)B(avx512,"avx512",without_gather)B(avx2,"avx2",with_gather)B(avx2,"avx2",without_gather)
void s_enc(benchmark::State&s){enc(s,scalar_enc);}BENCHMARK(s_enc)->Arg(16384);void s_dec(benchmark::State&s){dec(s,scalar_dec);}BENCHMARK(s_dec)->Arg(16384);
}}
