import type { Reference } from './check_op.js';
import { Grid, sizes } from './grid.js';

export interface ConvolutionAttrs {
  stride?: readonly [number, number];
  /** top, left, bottom, right */
  pad?: readonly [number, number, number, number];
  dilation?: readonly [number, number];
  relu?: boolean;
  bias?: boolean;
}

/**
 * y[n,o,p,q] = b[o] + sum_krs x[n, g*K + k, p*stride + r*dilation - pad, q*stride + s*dilation - pad] w[o,k,r,s],
 * K channels in each group and g the group of output o.
 */
export const convolved: Reference<'x' | 'w' | 'b', ConvolutionAttrs> = ({ x, w, b }, attrs, f) => {
  const { stride = [1, 1], pad = [0, 0, 0, 0], dilation = [1, 1], relu, bias } = attrs;
  const [N, C, H, W] = sizes(x);
  const [O, K, R, S] = sizes(w);
  const P = Math.floor((H + pad[0] + pad[2] - (R - 1) * dilation[0] - 1) / stride[0]) + 1;
  const Q = Math.floor((W + pad[1] + pad[3] - (S - 1) * dilation[1] - 1) / stride[1]) + 1;
  const y = new Grid([N, O, P, Q]);
  for (const [n, o, p, q] of y.cells()) {
    const first = Math.floor(o / ((O * K) / C)) * K;
    let sum = bias === false ? 0 : b.at(o);
    for (let k = 0; k < K; k++) {
      for (let r = 0; r < R; r++) {
        const i = p * stride[0] + r * dilation[0] - pad[0];
        for (let s = 0; s < S; s++) {
          const j = q * stride[1] + s * dilation[1] - pad[1];
          sum = f(sum + f(x.at(n, first + k, i, j) * w.at(o, k, r, s)));
        }
      }
    }
    y.set(relu ? Math.max(sum, 0) : sum, n, o, p, q);
  }
  return { y };
};
