import type { Shape } from '../engine/tensor.js';
import type { AttributeValue, NodeSpec, TensorSpec } from './onnx_write.js';

/** Collects the nodes and weights of an ONNX graph; each method returns the name of a new value. */
export class OnnxBuilder {
  readonly nodes: NodeSpec[] = [];
  readonly initializers: Record<string, TensorSpec> = {};

  node(
    opType: string,
    output: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    this.nodes.push({ opType, name: `${output}/${opType}`, inputs, outputs: [output], attributes });
    return output;
  }

  weight(name: string, dims: Shape, data: Float32Array): string {
    this.initializers[name] = { dims, data };
    return name;
  }

  /** Integers, one number or a list of them. */
  ints(name: string, values: number | readonly number[]): string {
    const list = typeof values === 'number' ? [values] : values;
    const dims = typeof values === 'number' ? [] : [values.length];
    this.initializers[name] = { dims, data: BigInt64Array.from(list, BigInt) };
    return name;
  }
}
