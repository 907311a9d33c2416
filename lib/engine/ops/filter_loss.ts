import { defineOp, type Value } from '../graph.js';

const backward = defineOp('filter_loss_backward', {
  inputs: { g: 'rows D', dscore: 'maps N D T 1', factor: 'rows D' },
  outputs: { dx: 'maps N D n n' },
  attrs: { beta: 'f32', tau: 'f32' },
});

const forward = defineOp('filter_loss_forward', {
  inputs: { x: 'maps N D n n', peak_mean: 'rows D' },
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
  derive: ({ n = 1 }) => ({ T: n * n + 1 }),
  vjp({ inputs: { x }, outputs: { dscore, factor }, grad, attrs: { beta, tau } }) {
    const [, , n = 1] = x.shape;
    return { x: () => backward({ g: grad, dscore, factor }, { beta, tau }, { n }).dx };
  },
});

export interface FilterLossOptions {
  /** `peak`: maps scaled to a running mean peak of kappa, unit templates. `paper`: raw maps, tau. */
  scale?: 'peak' | 'paper';
  /** Slope of the templates, default 4. */
  beta?: number;
  /** Height of the templates; default 1 for `peak`, 0.5 / n^2 for `paper`. */
  tau?: number;
  /** Prior of "a part is there", default n^2 / (1 + n^2). */
  alpha?: number;
  /** `peak`: height of a filter's mean peak after scaling, default 0.5. */
  kappa?: number;
  /** Share of the old running mean of the peaks, default 0.9. */
  momentum?: number;
  /** Smallest running mean as a share of the mean over filters, default 0.05. */
  floor?: number;
  /** Update the running mean of the peaks with this batch first, default true. */
  training?: boolean;
}

/**
 * Filter loss: minus the mutual information between the batch of maps of each filter and the part
 * templates, Loss_f = -sum_T p(T) sum_x p(x|T) log(p(x|T) / p(x)). [Zhang, Wu, Zhu 2018]
 *
 * x (N, D, n, n), post-ReLU maps before the mask; peakMean (D), a state with fill -1, used by `peak`;
 * loss (D), nats, <= 0. The gradient with respect to x is exact (running means are constants).
 */
export function filterLoss(x: Value, peakMean: Value, options: FilterLossOptions = {}): Value {
  const [, , n = 1] = x.shape;
  const { scale = 'peak', beta = 4, kappa = 0.5, momentum = 0.9, floor = 0.05 } = options;
  const { alpha = (n * n) / (1 + n * n), training = true } = options;
  const tau = options.tau ?? (scale === 'peak' ? 1 : 0.5 / (n * n));
  const peakScale = scale === 'peak';
  const { loss, peak_mean_out } = forward(
    { x, peak_mean: peakMean },
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
