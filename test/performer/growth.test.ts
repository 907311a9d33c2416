import { expect } from 'chai';
import { isRectified } from '../../lib/performer/cut.js';
import { isNonNegative, type NetValue, type StepOp } from '../../lib/performer/network.js';

const node = { name: 'n', opType: 'Op', opset: 17 };

function valueOf(op: StepOp, ...inputs: NetValue[]): NetValue {
  const step = { op, inputs, node };
  return { name: 'v', shape: [1, 8, 8], step, field: undefined, axes: undefined };
}

/** `length` values, each the one before joined with itself: 2^length ways to the first. */
function joined(first: NetValue, length: number): NetValue {
  let value = first;
  for (let i = 0; i < length; i++) value = valueOf({ kind: 'concat' }, value, value);
  return value;
}

describe('performer: questions about long networks', () => {
  const image: NetValue = {
    ...{ name: 'image', shape: [1, 8, 8], step: undefined },
    ...{ field: undefined, axes: undefined },
  };

  it('are answered once for each value, at any depth', () => {
    const rectified = joined(valueOf({ kind: 'relu' }, image), 30_000);
    const signed = joined(valueOf({ kind: 'softmax' }, image), 30_000);
    for (const ask of [isRectified, isNonNegative]) {
      expect(ask(rectified)).to.equal(true);
      expect(ask(signed)).to.equal(false);
      expect(ask(valueOf({ kind: 'concat' }, rectified, signed))).to.equal(false);
      expect(ask(joined(image, 1))).to.equal(false);
      expect(ask(valueOf({ kind: 'clip', lo: 0, hi: 6 }, image))).to.equal(true);
      expect(ask(valueOf({ kind: 'clip', lo: -1, hi: 6 }, rectified))).to.equal(false);
    }
  });
});
