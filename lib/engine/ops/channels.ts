import { expected } from '../../errors.js';
import type { Value } from '../graph.js';
import { showShape, type Shape } from '../tensor.js';

/**
 * Refuses values that are not one for each channel of maps or feature of rows `x`; `orOne`: nor one
 * for all.
 */
export function checkChannels(
  op: string,
  x: Value,
  values: Readonly<Record<string, Value>>,
  orOne = false,
): void {
  if (x.layout !== 'maps' && x.layout !== 'rows') {
    throw expected('maps or rows', 'x', x.layout, { op, code: 'E_SHAPE' });
  }
  const channels = (x.layout === 'maps' ? x.shape[1] : x.shape.at(-1)) ?? 1;
  const shapes: Shape[] = orOne ? [[channels], [1]] : [[channels]];
  for (const [name, { shape }] of Object.entries(values)) {
    if (shape.length === 1 && shapes.some(([size]) => size === shape[0])) continue;
    const wanted = shapes.map(showShape).join(' or ');
    throw expected(
      `${name} of shape ${wanted}, since x is ${showShape(x.shape)}`,
      name,
      showShape(shape),
      {
        op,
        code: 'E_SHAPE',
      },
    );
  }
}
