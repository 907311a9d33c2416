// The explainer's training step in TensorFlow.js: forward pass, gradients and optimizer by hand, as
// bench/peers/torch_step.py. Maps are (N, n, n, D). The wasm backend has no gradient of a convolution's
// filters: that is a convolution of the maps, images as channels, with the gradient as its filters.
import * as tf from '@tensorflow/tfjs-core';

const CONVOLUTIONS = ['conv_interp_1', 'conv_interp_2', 'conv_ordin'];
const MOMENTUM = 0.9; // of running means
const FLOOR = 0.05;
const SILENT = 1e-3;
const ETA = 0.3;
const KAPPA = 0.5;
const RHO = 3;
const BETA = 4;
const ADAM = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
const SGD_MOMENTUM = 0.9;

function templatesOf(n) {
  const place = (cell) => [Math.floor(cell / n), cell % n];
  return Array.from({ length: n * n }, (_, mu) =>
    Array.from({ length: n * n }, (_, cell) => {
      const [[i, j], [k, l]] = [place(mu), place(cell)];
      return Math.max(1 - (BETA * (Math.abs(i - k) + Math.abs(j - l))) / n, -1);
    }),
  );
}

function convolve(x, w, b) {
  return tf.relu(tf.add(tf.conv2d(x, w, 1, 'same'), b));
}

function filterGradient(x, g) {
  const images = tf.transpose(x, [3, 1, 2, 0]);
  const filters = tf.transpose(g, [1, 2, 0, 3]);
  const [none, one] = [
    [0, 0],
    [1, 1],
  ];
  return tf.transpose(tf.conv2d(images, filters, 1, [none, one, one, none]), [1, 2, 0, 3]);
}

function open(g, y) {
  return tf.mul(g, tf.step(y));
}

function pool(x) {
  return tf.maxPool(x, 2, 2, 'valid');
}

/** Of zeros the first one wins, as in the other programs: `order` tells them apart. */
function poolGradient(dy, x, output, order) {
  const input = tf.add(x, order);
  const attrs = { filterSize: 2, strides: 2, pad: 'valid' };
  return tf.engine().runKernel('MaxPoolGrad', { dy, input, output }, attrs);
}

function running(old, batch) {
  return tf.where(
    tf.less(old, 0),
    batch,
    tf.add(tf.mul(old, MOMENTUM), tf.mul(batch, 1 - MOMENTUM)),
  );
}

/** In stages: one sum over all would lose three digits. */
function norm(maps) {
  return tf.sqrt(tf.sum(tf.sum(tf.sum(tf.square(maps), [1, 2]), 1)));
}

/** gain / max(strength, floor * mean strength), 0 where all filters are dead. */
function share(gain, strength) {
  const below = tf.maximum(strength, tf.mul(tf.mean(strength), FLOOR));
  return tf.divNoNan(tf.fill(below.shape, gain), below);
}

export class Step {
  /** tensors: row-major arrays with shapes, as ours has them; sgd or adam with the setting's rates. */
  constructor(tensors, { optimizer, lr, lrScaleP, lrScaleDecoder }) {
    Object.assign(this, { optimizer, lr, lrScaleP, lrScaleDecoder, steps: 0, gradients: {} });
    const { shape } = tensors.features;
    [this.B, this.D, this.n] = [shape[0], tensors['conv_interp_1.bias'].shape[0], shape[2]];
    this.q = Math.floor(this.n / 2);
    this.features = tf.tidy(() =>
      tf.transpose(tf.tensor(tensors.features.data, shape), [0, 2, 3, 1]),
    );
    this.targets = Object.keys(tensors)
      .filter((name) => name.startsWith('target_'))
      .map((name) => tf.tensor(tensors[name].data, tensors[name].shape));
    this.w = {};
    for (const [name, { data, shape }] of Object.entries(tensors)) {
      if (name === 'features' || name.startsWith('target_')) continue;
      this.w[name] = tf.tidy(() => tf.variable(this.turned(name, tf.tensor(data, shape))));
    }
    this.moments = Object.fromEntries(
      Object.entries(this.w).map(([name, w]) => {
        const count = optimizer === 'sgd' ? 1 : 2;
        return [
          name,
          Array.from({ length: count }, () => tf.tidy(() => tf.variable(tf.zerosLike(w)))),
        ];
      }),
    );
    const names = ['interp', 'ordin', 'peak_1', 'peak_2'];
    this.state = Object.fromEntries(
      names.map((name) => [name, tf.variable(tf.fill([this.D], -1))]),
    );
    this.norms = Object.fromEntries(
      CONVOLUTIONS.slice(0, 2).map((name) => [name, tf.tidy(() => tf.keep(this.norm(name)))]),
    );
    const cells = Array.from({ length: this.n ** 2 }, (_, cell) => 1e-30 * (this.n ** 2 - cell));
    this.order = tf.tensor(cells, [1, this.n, this.n, 1]);
    const unit = templatesOf(this.n);
    this.masks = tf.tidy(() => tf.relu(tf.tensor2d(unit)));
    this.templates = tf.tensor2d([...unit, new Array(this.n ** 2).fill(-1)]); // [T, cell]
    const prior = this.n ** 2 / (1 + this.n ** 2);
    const each = new Array(this.n ** 2).fill(prior / this.n ** 2);
    this.pT = tf.tensor([...each, 1 - prior], [1, this.n ** 2 + 1, 1]);
  }

  /** From row-major (out, in, ...) to the order here, and with `back` from here. */
  turned(name, w, back = false) {
    if (w.rank < 2) return w;
    if (name.startsWith('conv')) return tf.transpose(w, back ? [3, 2, 0, 1] : [2, 3, 1, 0]);
    if (name !== 'fc_dec_1.weight') return tf.transpose(w);
    const { D, q } = this;
    return back
      ? tf.reshape(tf.transpose(tf.reshape(w, [q, q, D, -1]), [3, 2, 0, 1]), [-1, D * q * q])
      : tf.reshape(tf.transpose(tf.reshape(w, [-1, D, q, q]), [2, 3, 1, 0]), [D * q * q, -1]);
  }

  norm(name) {
    return tf.sqrt(tf.sum(tf.square(this.w[`${name}.weight`]), [0, 1, 2]));
  }

  mask(a) {
    const { B, D, n } = this;
    const peak = tf.argMax(tf.reshape(a, [B, n * n, D]), 1);
    return tf.reshape(tf.transpose(tf.gather(this.masks, peak), [0, 2, 1]), a.shape);
  }

  layer(name, x) {
    return convolve(x, this.w[`${name}.weight`], this.w[`${name}.bias`]);
  }

  /** Factors of the norm layer; its running mean moves. */
  factor(name, x) {
    const alpha = running(this.state[name], tf.mean(tf.sum(tf.relu(x), [1, 2]), 0));
    this.state[name].assign(alpha);
    return tf.mul(share(this.q, alpha), tf.greaterEqual(tf.mean(alpha), SILENT));
  }

  forward() {
    const f = {};
    f.a1 = this.layer('conv_interp_1', this.features);
    f.mask1 = this.mask(f.a1);
    f.m1 = tf.mul(f.a1, f.mask1);
    f.a2 = this.layer('conv_interp_2', f.m1);
    f.mask2 = this.mask(f.a2);
    f.m2 = tf.mul(f.a2, f.mask2);
    f.c = this.layer('conv_ordin', this.features);
    [f.pi, f.po] = [pool(f.m2), pool(f.c)];
    [f.fi, f.fo] = [this.factor('interp', f.pi), this.factor('ordin', f.po)];
    f.p = tf.sigmoid(this.w['mix.w_p']);
    [f.xi, f.xo] = [tf.mul(f.pi, f.fi), tf.mul(f.po, f.fo)];
    const x = tf.add(tf.mul(f.xi, f.p), tf.mul(f.xo, tf.sub(1, f.p)));
    f.h = [tf.reshape(x, [this.B, -1])];
    this.targets.forEach((_, l) => {
      const name = `fc_dec_${l + 1}`;
      const z = tf.matMul(f.h[l], this.w[`${name}.weight`]);
      f.h.push(tf.relu(tf.add(z, this.w[`${name}.bias`])));
    });
    return f;
  }

  /** Mean loss, lambda, lambda times the gradient with respect to a. */
  filterLoss(l, a, rec) {
    const { B, D, n, pT, templates } = this;
    const maps = tf.reshape(a, [B, n * n, D]);
    const peak = running(this.state[`peak_${l}`], tf.mean(tf.max(maps, 1), 0));
    this.state[`peak_${l}`].assign(peak);
    const factor = share(KAPPA, peak);
    const rows = tf.tile(tf.expandDims(templates), [B, 1, 1]);
    const scores = tf.matMul(rows, tf.mul(maps, factor)); // [B, T, D]
    const logP = tf.sub(scores, tf.logSumExp(scores, 0, true));
    const surprise = tf.sub(logP, tf.logSumExp(tf.add(logP, tf.log(pT)), 1, true));
    const p = tf.exp(logP);
    const kl = tf.sum(tf.mul(p, surprise), 0, true);
    const loss = tf.neg(tf.mean(tf.sum(tf.mul(kl, pT), 1)));
    const dscore = tf.mul(tf.mul(tf.neg(pT), p), tf.div(tf.sub(surprise, kl), D));
    const direct = tf.mul(tf.reshape(tf.matMul(rows, dscore, true), a.shape), factor);
    const lambda = tf.divNoNan(tf.mul(norm(rec), RHO), norm(direct));
    return { loss, lambda, gradient: tf.mul(direct, lambda) };
  }

  convolutionGradients(g, name, x, dy) {
    g[`${name}.weight`] = filterGradient(x, dy);
    g[`${name}.bias`] = tf.sum(dy, [0, 1, 2]);
  }

  throughSecond(f, g) {
    const back = tf.conv2dTranspose(g, this.w['conv_interp_2.weight'], f.m1.shape, 1, 'same');
    return tf.mul(back, f.mask1);
  }

  /** Gradients by name, and the losses. */
  backward(f) {
    const [g, losses] = [{}, {}];
    let dh = null;
    for (let l = this.targets.length; l > 0; l--) {
      const off = tf.sub(f.h[l], this.targets[l - 1]);
      losses[`rec_${l}`] = tf.mean(tf.square(off));
      const own = tf.mul(off, 2 / off.size);
      const dz = open(dh ? tf.add(own, dh) : own, f.h[l]);
      g[`fc_dec_${l}.weight`] = tf.matMul(f.h[l - 1], dz, true);
      g[`fc_dec_${l}.bias`] = tf.sum(dz, 0);
      dh = tf.matMul(dz, this.w[`fc_dec_${l}.weight`], false, true);
    }
    const dx = tf.reshape(dh, f.xi.shape);
    const rest = tf.sub(1, f.p);
    const dp = tf.mul(tf.sum(tf.mul(dx, tf.sub(f.xi, f.xo))), tf.mul(f.p, rest));
    g['mix.w_p'] = tf.sub(dp, tf.mul(rest, ETA));
    const dOrdin = poolGradient(tf.mul(dx, tf.mul(f.fo, rest)), f.c, f.po, this.order);
    this.convolutionGradients(g, 'conv_ordin', this.features, open(dOrdin, f.c));
    const rec2 = tf.mul(
      poolGradient(tf.mul(dx, tf.mul(f.fi, f.p)), f.m2, f.pi, this.order),
      f.mask2,
    );
    const rec1 = this.throughSecond(f, open(rec2, f.a2));
    const [loss1, loss2] = [this.filterLoss(1, f.a1, rec1), this.filterLoss(2, f.a2, rec2)];
    const at2 = open(tf.add(rec2, loss2.gradient), f.a2);
    this.convolutionGradients(g, 'conv_interp_2', f.m1, at2);
    const at1 = open(tf.add(this.throughSecond(f, at2), loss1.gradient), f.a1);
    this.convolutionGradients(g, 'conv_interp_1', this.features, at1);
    const contribution = tf.mul(tf.softplus(tf.neg(this.w['mix.w_p'])), ETA);
    Object.assign(losses, { filter_1: loss1.loss, filter_2: loss2.loss, contribution, p: f.p });
    return { gradients: g, losses };
  }

  update(name, grad) {
    const w = this.w[name];
    const scale =
      name === 'mix.w_p' ? this.lrScaleP : name.startsWith('fc') ? this.lrScaleDecoder : 1;
    const [m, v] = this.moments[name];
    if (this.optimizer === 'sgd') {
      m.assign(tf.add(tf.mul(m, SGD_MOMENTUM), grad));
      w.assign(tf.sub(w, tf.mul(m, this.lr * scale)));
      return;
    }
    const { beta1, beta2, eps } = ADAM;
    m.assign(tf.add(tf.mul(m, beta1), tf.mul(grad, 1 - beta1)));
    v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(grad), 1 - beta2)));
    const rate = (this.lr * scale) / (1 - beta1 ** this.steps);
    const root = tf.add(tf.sqrt(tf.div(v, 1 - beta2 ** this.steps)), eps);
    w.assign(tf.sub(w, tf.mul(tf.div(m, root), rate)));
  }

  /** One step; losses by name. `keep`: the gradients stay in `this.gradients`. */
  run(keep = false) {
    this.steps++;
    tf.dispose(this.gradients);
    this.gradients = {};
    return tf.tidy(() => {
      const { gradients, losses } = this.backward(this.forward());
      for (const [name, grad] of Object.entries(gradients)) {
        this.update(name, grad);
        if (keep) this.gradients[name] = tf.keep(grad);
      }
      for (const [name, norm] of Object.entries(this.norms)) {
        const w = this.w[`${name}.weight`];
        w.assign(tf.mul(w, tf.div(norm, this.norm(name))));
      }
      return Object.fromEntries(
        Object.entries(losses).map(([name, loss]) => [name, loss.dataSync()[0]]),
      );
    });
  }
}
