import { defineOp, type Value } from '../graph.js';

const balance = defineOp('balance_gradient', {
  inputs: { g_rec: 'any', g_filter: '= g_rec' },
  outputs: { lambda: 'rows' },
  attrs: { rho: 'f32' },
});

/**
 * Weight of the filter loss: lambda = rho * |gRec| / |gFilter|, Frobenius norms over the batch; 0 when
 * gFilter vanishes. Both gradients of one map (N, D, n, n); lambda a scalar without a gradient.
 */
export function balanceGradient(gRec: Value, gFilter: Value, { rho }: { rho: number }): Value {
  return balance({ g_rec: gRec, g_filter: gFilter }, { rho }).lambda;
}
