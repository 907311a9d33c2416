/** A bug that a change of one file plants, and what must find it. */
export interface PlantedBug {
  name: string;
  /** File of cuda/ that is changed. */
  file: string;
  /** Text that occurs in it exactly once, and what it becomes. */
  find: string;
  replace: string;
  /** File whose object holds the change, and a kernel that runs it. */
  object: string;
  kernel: string;
  /**
   * `orders`: results are NaN or change with the order of threads and copies; `rule`: the emulator
   * names a rule that is broken (`says`); `asan`, `tsan`: that sanitizer's report.
   */
  detector: 'orders' | 'rule' | 'asan' | 'tsan';
  says?: RegExp;
}

const PRODUCT = { file: 'device/gemm.h', object: 'ops/linear.cu', kernel: 'linear_forward' };
const WGMMA = {
  file: 'device/wgmma_gemm.h',
  object: 'ops/conv2d_wgmma.cu',
  kernel: 'conv2d_forward',
};
const SUM = {
  file: 'device/reduce.h',
  object: 'ops/mean_square.cu',
  kernel: 'mean_square_forward',
};

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    ...PRODUCT,
    name: 'a product without the barrier between its tiles',
    find: '__syncthreads();  // the tile is there for all; all are done with the stage that is fetched next',
    replace: '',
    detector: 'orders',
  },
  {
    ...PRODUCT,
    name: 'a product that waits for one copy too few',
    find: 'cp_async_wait<STAGES - 2>();',
    replace: 'cp_async_wait<STAGES - 1>();',
    detector: 'orders',
  },
  {
    ...PRODUCT,
    name: 'a product without the barrier between its tiles, as a race',
    find: '__syncthreads();  // the tile is there for all; all are done with the stage that is fetched next',
    replace: '',
    detector: 'tsan',
  },
  {
    ...PRODUCT,
    name: 'a product that writes rows beyond the last',
    find: 'if (m < size.M && n < size.N) epilogue',
    replace: 'if (n < size.N) epilogue',
    detector: 'asan',
  },
  {
    name: 'an element-wise kernel that goes one step too far',
    file: 'ops/scale.cu',
    find: 'for_each(device, elements(t.y) / 4,',
    replace: 'for_each(device, elements(t.y) / 4 + 1,',
    object: 'ops/scale.cu',
    kernel: 'scale_forward',
    detector: 'asan',
  },
  {
    ...SUM,
    name: 'a sum over blocks into one place without atomics',
    find: 'if (threadIdx.x == 0) partial[blockIdx.x] = sum;',
    replace: 'if (threadIdx.x == 0) partial[0] += partial[blockIdx.x] = sum;',
    detector: 'tsan',
  },
  {
    ...SUM,
    name: 'a block sum without its barrier',
    find: `  if (t % 32 == 0) warps[t / 32] = v;
  __syncthreads();`,
    replace: '  if (t % 32 == 0) warps[t / 32] = v;',
    detector: 'tsan',
  },
  {
    name: 'lanes that leave before a shuffle of the whole warp',
    file: 'ops/softmax.cu',
    find: '  softmax_row(x +',
    replace: '  if (threadIdx.x % 32 > 25) return;\n  softmax_row(x +',
    object: 'ops/softmax.cu',
    kernel: 'softmax_forward',
    detector: 'rule',
    says: /deadlock in block .* __shfl_xor_sync/,
  },
  {
    name: 'memory for another session cleared on the stream that is recorded',
    file: 'cuda_backend.cu',
    find: 'd.clear(*memory, bytes);',
    replace: `CUDA_TRY(cudaMemsetAsync(*memory, 0, bytes, d.stream()));
    CUDA_TRY(cudaStreamSynchronize(d.stream()));`,
    object: 'cuda_backend.cu',
    kernel: 'relu_forward',
    detector: 'rule',
    says: /allocate: not permitted when stream is capturing/,
  },
  {
    ...WGMMA,
    name: 'wgmma that reads copies without a proxy fence',
    find: 'fence_async_shared();',
    replace: '',
    detector: 'rule',
    says: /without fence_async_shared/,
  },
  {
    ...WGMMA,
    name: 'wgmma without its last wait',
    find: 'wgmma_finish(c);',
    replace: '',
    detector: 'rule',
    says: /unfinished wgmma/,
  },
  {
    ...WGMMA,
    file: 'device/conv.h',
    name: 'peaks of a tile that is not there yet',
    find: '__syncthreads();  // the tile is there for all',
    replace: '',
    detector: 'tsan',
  },
  {
    ...WGMMA,
    name: 'a copy into the stage that a running wgmma reads',
    find: 'AHEAD = WGMMA_STAGES - 2,',
    replace: 'AHEAD = WGMMA_STAGES - 1,',
    detector: 'orders',
  },
];
