import { expected } from '../../errors.js';
import { outputOf, type Value } from '../graph.js';
import { showShape, sizeOf } from '../tensor.js';

/**
 * Maps (N, C, H, W) as rows (N, C * H * W), in C, H, W order: a view, no kernel. Rows pass through.
 */
export function flatten(x: Value): Value {
  if (x.layout === 'rows') return x;
  if (x.layout !== 'maps') {
    throw expected('maps (N, C, H, W)', 'x', x.layout, { op: 'flatten', code: 'E_SHAPE' });
  }
  const [N = 1, C = 1, H = 1, W = 1] = x.shape;
  return view('flatten', x, {
    shape: [N, sizeOf([C, H, W])],
    layout: 'rows',
    chw: [C, H, W],
  });
}

/**
 * Rows (N, F) or (F) as maps (N, F, 1, 1), those flattened from maps as these maps: a view, no kernel.
 * Maps pass through. What `binary` takes beside maps.
 */
export function asMaps(x: Value): Value {
  if (x.layout === 'maps') return x;
  if (x.layout !== 'rows' || x.shape.length === 0) {
    throw expected('rows (N, F) or (F)', 'x', `${showShape(x.shape)} in layout ${x.layout}`, {
      op: 'asMaps',
      code: 'E_SHAPE',
    });
  }
  const [N = 1, F = 1] = x.shape.length === 1 ? [1, ...x.shape] : x.shape;
  const chw = x.chw ?? [F, 1, 1];
  return view('as_maps', x, { shape: [N, ...chw], layout: 'maps', chw: undefined });
}

/** The gradient of a view of `x`: `grad` in the shape of x. */
export function viewLike(grad: Value, { shape, layout, chw }: Value): Value {
  return view(`like ${showShape(shape)} ${layout} ${chw?.join(',') ?? ''}`, grad, {
    shape,
    layout,
    chw,
  });
}

/** Flattened rows as maps again: the gradient of `flatten`. */
export function unflatten(x: Value): Value {
  if (!x.chw) throw expected('rows flattened from maps', 'x', x.shape, { op: 'unflatten' });
  return view('unflatten', x, {
    shape: [x.shape[0] ?? 1, ...x.chw],
    layout: 'maps',
    chw: undefined,
  });
}

function view(name: string, x: Value, type: Pick<Value, 'shape' | 'layout' | 'chw'>): Value {
  const node = x.node.graph.add(
    { kind: 'view', name, types: [{ ...type, dtype: x.dtype }], inputs: [x] },
    `${name}|${String(x.id)}`,
  );
  return outputOf(node, 0);
}
