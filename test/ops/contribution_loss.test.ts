import { contributionLoss } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant } from '../support/draw.js';
import { Grid } from '../support/grid.js';

interface Attrs {
  eta: number;
}

function of(w: number, eta: number): OpCase<'w_p', Attrs> {
  return { shapes: { w_p: [] }, attrs: { eta }, draw: { w_p: constant(w) } };
}

describe('ops: contribution_loss', () => {
  checkOp<'w_p', Attrs>(
    {
      name: 'contribution_loss',
      inputs: { w_p: {} },
      wrt: ['w_p'],
      build: ({ w_p }, attrs) => ({ loss: contributionLoss(w_p, attrs) }),
      wrong: [{ shapes: { w_p: [1] }, text: /\[contribution_loss\] Expected w_p of shape \(\)/ }],
    },
    // -eta log sigmoid(w) = eta (log(1 + exp(-|w|)) + max(-w, 0)), which cannot overflow
    ({ w_p }, { eta }, f) => {
      const w = w_p.at();
      const loss = f(f(Math.log1p(f(Math.exp(-Math.abs(w))))) + Math.max(-w, 0));
      return { loss: new Grid([], [f(Math.fround(eta) * loss)]) };
    },
    [of(0.3, 0.3), of(-2, 1), of(5, 0.1), of(-200, 0.7), of(1, 0)],
  );
});
