// Kernels as PTX, which the driver compiles for whatever device it has (Maxwell and later). Written
// by hand; no compiler of CUDA is needed, to build or to run.
#pragma once

namespace moontide {

inline constexpr char kKernelsPtx[] = R"ptx(
.version 6.0
.target sm_50
.address_size 64

// word[i] = seed + i * 2654435761
.visible .entry moontide_fill(.param .u64 to, .param .u64 words, .param .u32 seed)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [to];
  ld.param.u64 %rd2, [words];
  ld.param.u32 %r1, [seed];
  cvta.to.global.u64 %rd1, %rd1;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mov.u32 %r5, %nctaid.x;
  mul.wide.u32 %rd3, %r2, %r3;
  cvt.u64.u32 %rd4, %r4;
  add.s64 %rd3, %rd3, %rd4;
  mul.wide.u32 %rd5, %r5, %r3;
FILL_NEXT:
  setp.ge.u64 %p1, %rd3, %rd2;
  @%p1 bra FILL_DONE;
  cvt.u32.u64 %r6, %rd3;
  mad.lo.s32 %r7, %r6, -1640531535, %r1;
  shl.b64 %rd6, %rd3, 2;
  add.s64 %rd7, %rd1, %rd6;
  st.global.u32 [%rd7], %r7;
  add.s64 %rd3, %rd3, %rd5;
  bra FILL_NEXT;
FILL_DONE:
  ret;
}

// crc[i] = CRC-32C of the i-th run of `words` words; a thread each, a bit at a time
.visible .entry moontide_crc32c(.param .u64 data, .param .u32 blocks, .param .u32 words,
                                .param .u64 crcs)
{
  .reg .pred %p<4>;
  .reg .b32 %r<14>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [data];
  ld.param.u32 %r1, [blocks];
  ld.param.u32 %r2, [words];
  ld.param.u64 %rd2, [crcs];
  cvta.to.global.u64 %rd1, %rd1;
  cvta.to.global.u64 %rd2, %rd2;
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mov.u32 %r5, %tid.x;
  mov.u32 %r12, %nctaid.x;
  mad.lo.u32 %r6, %r3, %r4, %r5;
  mul.lo.u32 %r13, %r12, %r4;
CRC_BLOCK:
  setp.ge.u32 %p1, %r6, %r1;
  @%p1 bra CRC_DONE;
  mul.wide.u32 %rd3, %r6, %r2;
  shl.b64 %rd3, %rd3, 2;
  add.s64 %rd4, %rd1, %rd3;
  mov.u32 %r7, -1;
  mov.u32 %r8, 0;
CRC_WORD:
  setp.ge.u32 %p2, %r8, %r2;
  @%p2 bra CRC_STORE;
  ld.global.u32 %r9, [%rd4];
  xor.b32 %r7, %r7, %r9;
  mov.u32 %r10, 0;
CRC_BIT:
  and.b32 %r11, %r7, 1;
  neg.s32 %r11, %r11;
  and.b32 %r11, %r11, -2097792136;
  shr.u32 %r7, %r7, 1;
  xor.b32 %r7, %r7, %r11;
  add.u32 %r10, %r10, 1;
  setp.lt.u32 %p3, %r10, 32;
  @%p3 bra CRC_BIT;
  add.s64 %rd4, %rd4, 4;
  add.u32 %r8, %r8, 1;
  bra CRC_WORD;
CRC_STORE:
  not.b32 %r7, %r7;
  mul.wide.u32 %rd5, %r6, 4;
  add.s64 %rd6, %rd2, %rd5;
  st.global.u32 [%rd6], %r7;
  add.u32 %r6, %r6, %r13;
  bra CRC_BLOCK;
CRC_DONE:
  ret;
}
)ptx";

}  // namespace moontide
