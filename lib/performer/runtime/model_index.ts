import { expected, show } from '../../errors.js';
import { nearest } from '../nearest.js';
import { outerNames } from '../onnx_graph.js';
import { DimensionSchema, type GraphProto, type ModelProto } from '../onnx_proto.js';
import type { NodeProto, TensorProto, ValueInfoProto } from '../onnx_proto.js';
import { modelError } from '../onnx_error.js';
import { isFieldSet } from '@bufbuild/protobuf';

/** Where the values of a model come from, made once for all of its programs. */
export class ModelIndex {
  readonly graph: GraphProto;
  /** Inputs that are no initializers, by name. */
  readonly inputs: ReadonlyMap<string, ValueInfoProto>;
  readonly initializers: ReadonlyMap<string, TensorProto>;
  readonly #producers = new Map<string, NodeProto>();
  readonly #reads = new Map<NodeProto, readonly string[]>();

  constructor(
    readonly model: ModelProto,
    /** For messages. */
    readonly path: string,
  ) {
    if (!model.graph) throw modelError('a graph', path, undefined);
    this.graph = model.graph;
    this.initializers = new Map(this.graph.initializer.map((one) => [one.name, one]));
    const given = this.graph.input.filter(({ name }) => !this.initializers.has(name));
    this.inputs = new Map(given.map((one) => [one.name, one]));
    for (const node of this.graph.node) {
      for (const name of node.output) if (name !== '') this.#producers.set(name, node);
    }
  }

  /** The node that computes a value, or undefined. */
  producer(name: string): NodeProto | undefined {
    return this.#producers.get(name);
  }

  /** Names that a node reads: its inputs and what the graphs inside it take from outside. */
  reads(node: NodeProto): readonly string[] {
    const known = this.#reads.get(node);
    if (known) return known;
    const names = [...node.input.filter((name) => name !== ''), ...outerNames(node)];
    this.#reads.set(node, names);
    return names;
  }

  /** Throws `E_ARGUMENT` for a name that the model does not know. */
  require(name: string, what: string): void {
    if (this.#producers.has(name) || this.inputs.has(name) || this.initializers.has(name)) return;
    const known = nearest(name, [...this.#producers.keys(), ...this.inputs.keys()]);
    throw expected(`a value of ${show(this.path)}`, what, name, {
      op: 'onnxruntime',
      remedy: `Values with such names: ${known.map(show).join(', ')}.`,
    });
  }

  /** Sizes that a model input declares: undefined where it leaves them open, or declares no shape. */
  declaredDims(name: string): readonly (number | undefined)[] | undefined {
    return this.inputs.get(name)?.type?.tensorType?.shape?.dim.map((dim) => {
      const size = isFieldSet(dim, DimensionSchema.field.dimValue) ? Number(dim.dimValue) : 0;
      return size >= 1 ? size : undefined;
    });
  }

  /** Images in a batch where the file fixes them. */
  fixedBatch(): number | undefined {
    const shapes = [...this.inputs.keys()].flatMap((name) => {
      const dims = this.declaredDims(name);
      return dims && dims.length >= 2 ? [dims] : [];
    });
    return (shapes.find(({ length }) => length === 4) ?? shapes[0])?.[0];
  }

  /** A prefix that no name of the model has. */
  freshPrefix(): string {
    const names = [...this.#producers.keys(), ...this.inputs.keys(), ...this.initializers.keys()];
    let prefix = 'partlens';
    while (names.some((name) => name.startsWith(prefix))) prefix += '_';
    return prefix;
  }
}
