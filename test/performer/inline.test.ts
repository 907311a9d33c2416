import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import {
  AttributeSchema,
  AttributeType,
  DataType,
  FunctionSchema,
  OperatorSetIdSchema,
  type ModelProto,
} from '../../lib/performer/onnx_proto.js';
import { attributeOf } from '../../lib/performer/onnx_write.js';
import { tensorOf } from '../support/onnx_case.js';
import { loadOnnxRuntime } from '../support/onnxruntime.js';
import { failure } from '../support/performer.js';
import { difference, model, op, read } from '../support/read_model.js';

describe('performer: nodes of other domains', () => {
  it('takes fused nodes apart', async function () {
    const proto = model((net, x) => {
      net.weight('w', [4, 6, 1, 1]);
      net.conv('image', 'z', [4, 3, 1]);
      return net.node('FusedConv', 'y', [x, 'w', '', 'z'], { activation: 'LeakyRelu' });
    });
    proto.opsetImport.push(create(OperatorSetIdSchema, { domain: 'com.microsoft', version: 1n }));
    const node = proto.graph?.node.find(({ opType }) => opType === 'FusedConv');
    if (!node) throw new Error('FusedConv is missing');
    node.domain = 'com.microsoft';
    node.attribute.push(attributeOf('activation_params', { floats: [0.2] }));
    const parsed = read(proto);
    expect(parsed.nodes.slice(-3).map(({ opType }) => opType)).to.deep.equal([
      'Conv',
      'Add',
      'LeakyRelu',
    ]);
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    expect(await difference(proto, parsed)).to.be.below(1e-5);
  });

  it('computes quantised activations in float, within what the type holds, and says so', () => {
    const proto = model((net, x) => {
      net.weight('scale', [], () => 0.1);
      const q = net.node('QuantizeLinear', 'q', [x, 'scale', 'zero']);
      return net.node('DequantizeLinear', 'y', [q, 'scale', 'zero']);
    });
    proto.graph?.initializer.push(
      tensorOf('zero', { dims: [], data: [-128], type: DataType.INT8 }),
    );
    const parsed = read(proto);
    expect(parsed.notes).to.deep.equal([
      '1 quantised activation is computed in float, without the rounding.',
    ]);
    const { op: clip } = lowerModel(parsed).outputs[0]?.step ?? {};
    if (clip?.kind !== 'clip') throw new Error('not clipped');
    expect(clip.lo).to.equal(0);
    expect(clip.hi).to.be.closeTo(25.5, 1e-5);
  });
});

describe('performer: functions and branches', () => {
  const attribute = (name: string, ref: string, type: number) => ({ name, refAttrName: ref, type });
  const opsetImport = [{ domain: '', version: 17n }];
  const functions: MessageInitShape<typeof FunctionSchema>[] = [
    {
      name: 'leaky',
      domain: 'local',
      input: ['x', 'bias'],
      output: ['y'],
      attribute: ['slope'],
      opsetImport,
      node: [
        { opType: 'Add', input: ['x', 'bias'], output: ['t'] },
        {
          opType: 'LeakyRelu',
          input: ['t'],
          output: ['y'],
          attribute: [attribute('alpha', 'slope', AttributeType.FLOAT)],
        },
      ],
    },
    {
      name: 'twice',
      domain: 'local',
      input: ['x', 'b'],
      output: ['y', 'same'],
      attribute: ['slope'],
      opsetImport: [...opsetImport, { domain: 'local', version: 1n }],
      node: [
        ...['t', 'y'].map((output, i) => ({
          opType: 'leaky',
          domain: 'local',
          input: [i === 0 ? 'x' : 't', 'b'],
          output: [output],
          attribute: [attribute('slope', 'slope', AttributeType.FLOAT)],
        })),
        { opType: 'Identity', input: ['x'], output: ['same'] },
      ],
    },
  ];

  function calling(): ModelProto {
    const proto = model((net, x) => {
      net.weight('b', [6, 1, 1]);
      net.nodes.push({ opType: 'twice', name: 'call', inputs: [x, 'b'], outputs: ['t', 'same'] });
      return op('Mul', 'y', 't', 'same')(net);
    });
    proto.functions.push(...functions.map((one) => create(FunctionSchema, one)));
    proto.opsetImport.push(create(OperatorSetIdSchema, { domain: 'local', version: 1n }));
    proto.irVersion = 8n;
    const call = proto.graph?.node.find(({ name }) => name === 'call');
    call?.attribute.push(attributeOf('slope', { float: 0.3 }));
    if (call) call.domain = 'local';
    return proto;
  }

  it('puts the nodes of functions in the place of their calls', async function () {
    const proto = calling();
    const parsed = read(proto);
    const types = parsed.nodes.map(({ opType }) => opType);
    expect(types).to.deep.equal([
      'Conv',
      'Add',
      'LeakyRelu',
      'Add',
      'LeakyRelu',
      'Identity',
      'Mul',
    ]);
    const names = parsed.nodes.flatMap(({ outputs }) => outputs);
    expect(new Set(names).size).to.equal(names.length);
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    expect(await difference(proto, parsed)).to.equal(0);
  });

  it('gives a value that a function hands through both of its names', () => {
    const proto = calling();
    const twice = proto.functions[1];
    twice?.output.splice(1, 1, 'x');
    twice?.node.splice(2, 1);
    const parsed = read(proto);
    const made = parsed.nodes.find(({ outputs }) => outputs[0] === 'same');
    expect([made?.opType, made?.inputs]).to.deep.equal(['Identity', ['x']]);
  });

  it('refuses functions that call themselves or grow without end', async () => {
    const endless = calling();
    const inner = endless.functions[1]?.node[0];
    if (inner) inner.opType = 'twice';
    await failure('E_ONNX', /functions 32 deep/, () => read(endless));
  });

  /** An If whose condition is `rank of x equals 4`, over x; the branches call their values alike. */
  function branching(wanted: number): ModelProto {
    const proto = model((net, x) => {
      const size = net.node('Size', 'rank', [net.node('Shape', 'shape', [x])]);
      net.ints('wanted', [wanted], []);
      const condition = net.node('Equal', 'cond', [size, 'wanted']);
      net.node('If', 'y', [condition]);
      return 'y';
    });
    const branch = (opType: string) => ({
      name: opType,
      initializer: [tensorOf('k', { dims: [], data: [2] })],
      node: [{ opType, input: ['x', 'k'], output: ['x2'] }],
      output: [{ name: 'x2' }],
    });
    const sides = [
      ['then_branch', 'Mul'],
      ['else_branch', 'Add'],
    ] as const;
    const attributes = sides.map(([name, opType]) =>
      create(AttributeSchema, { name, type: AttributeType.GRAPH, g: branch(opType) }),
    );
    proto.graph?.node.find(({ opType }) => opType === 'If')?.attribute.push(...attributes);
    return proto;
  }

  it('takes the branch of an If whose condition follows from shapes', () => {
    for (const [wanted, opType] of [
      [4, 'Mul'],
      [3, 'Add'],
    ] as const) {
      const network = lowerModel(read(branching(wanted)));
      expect(network.outputs[0]?.step?.node.opType).to.equal(opType);
      const affine = network.outputs[0]?.step?.op;
      if (affine?.kind !== 'affine') throw new Error('not affine');
      const [scale, shift] = [affine.scale[0], affine.shift[0]];
      expect([scale, shift]).to.deep.equal(opType === 'Mul' ? [2, 0] : [1, 2]);
    }
  });

  it('refuses an If that depends on the image', async () => {
    const proto = branching(4);
    const node = proto.graph?.node.find(({ opType }) => opType === 'If');
    if (node) node.input[0] = 'x';
    await failure('E_ONNX', /a condition known at load .* depends on the image/, () =>
      lowerModel(read(proto)),
    );
  });
});
