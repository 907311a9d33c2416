import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const backward = defineOp('filter_loss_backward', {
  inputs: { g: 'rows D', dscore: 'maps N D T 1', factor: 'rows D' },
  outputs: { dx: 'maps N D n m' },
  attrs: { beta: 'f32', tau: 'f32' },
});

const forward = defineOp('filter_loss_forward', {
  inputs: { x: 'maps N D n m', peak_mean: 'rows D', foreign: 'rows? N D' },
  outputs: { loss: 'rows D', dscore: 'maps N D T 1', factor: 'rows D', peak_mean_out: 'rows? D' },
  attrs: {
    beta: 'f32',
    tau: 'f32',
    alpha: 'f32',
    peak_scale: 'i32',
    kappa: 'f32',
    momentum: 'f32',
    floor: 'f32',
    training: 'i32',
  },
  derive: ({ n = 1, m = 1 }) => ({ T: n * m + 1 }),
  vjp({ inputs: { x }, outputs: { dscore, factor }, grad, attrs: { beta, tau } }) {
    const [, , n = 1, m = 1] = x.shape;
    return { x: () => backward({ g: grad, dscore, factor }, { beta, tau }, { n, m }).dx };
  },
});

export interface FilterLossOptions {
  /** `peak`: maps scaled to a running mean peak of kappa, unit templates. `paper`: raw maps, tau. */
  scale?: 'peak' | 'paper';
  /** Slope of the templates, default 4. */
  beta?: number;
  /** Height of the templates; default 1 for `peak`, 0.5 / (n m) for `paper`. */
  tau?: number;
  /** Prior of "a part is there", default n m / (1 + n m). */
  alpha?: number;
  /** `peak`: height of a filter's mean peak after scaling, default 0.5. */
  kappa?: number;
  /** Share of the old running mean of the peaks, default 0.9. */
  momentum?: number;
  /** Smallest running mean as a share of the mean over filters, default 0.05. */
  floor?: number;
  /** Update the running mean of the peaks with this batch first, default true. */
  training?: boolean;
  /** (N, D): how much image n is charged for a part of filter d; default none. See there. */
  foreign?: Value;
}

/**
 * Filter loss: minus the mutual information between the batch of maps of each filter and the part
 * templates, Loss_f = -sum_T p(T) sum_x p(x|T) log(p(x|T) / p(x)). [Zhang, Wu, Zhu 2018]
 * T_mu[i,j] = tau max(1 - beta |[i,j] - mu|_1 / s, -1) for every cell mu, s = sqrt(n m), and -tau.
 *
 * Images of which a filter should show nothing are charged their cross-entropy of "no part", T_- with the
 * scores s(x,T) = sum_ij z_ij T_ij of the scaled maps z: Loss_f gains the mean over images of
 * foreign_x,f (log sum_T p(T) exp(s(x,T)) - s(x,T_-) - log p(T_-)), >= 0.
 *
 * x (N, D, n, m), post-ReLU maps before the mask; peakMean (D), a state with fill -1, used by `peak`;
 * loss (D), nats, <= 0 without `foreign`. The gradient with respect to x is exact
 * (running means and `foreign` are constants). Throws E_ARGUMENT for `foreign` with an alpha outside 0..1.
 */
export function filterLoss(x: Value, peakMean: Value, options: FilterLossOptions = {}): Value {
  const [, , n = 1, m = 1] = x.shape;
  const cells = n * m;
  const { scale = 'peak', beta = 4, kappa = 0.5, momentum = 0.9, floor = 0.05 } = options;
  const { alpha = cells / (1 + cells), training = true, foreign } = options;
  if (foreign && !(Math.fround(alpha) > 0 && Math.fround(alpha) < 1)) {
    throw expected('a number between 0 and 1 beside foreign', 'alpha', alpha, {
      op: 'filter_loss',
    });
  }
  const tau = options.tau ?? (scale === 'peak' ? 1 : 0.5 / cells);
  const peakScale = scale === 'peak';
  const { loss, peak_mean_out } = forward(
    { x, peak_mean: peakMean, foreign },
    {
      beta,
      tau,
      alpha,
      peak_scale: Number(peakScale),
      kappa,
      momentum,
      floor,
      training: Number(training),
    },
  );
  if (peakScale && training) x.node.graph.update(peak_mean_out);
  return loss;
}
