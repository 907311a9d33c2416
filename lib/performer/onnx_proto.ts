import { create, createFileRegistry, type Message } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { PartlensError } from '../errors.js';

/*
 * The part of onnx.proto (proto2) that a feed-forward network needs. Fields left out (doc strings,
 * functions, sequence types) are kept as unknown fields when a model is written again. Sub-graphs (the
 * bodies of If and Loop) are the one recursion; onnx_wire.ts bounds its depth.
 */

/** A line of the schema: `[repeated|packed] type name number`. */
const MESSAGES: Readonly<Record<string, readonly string[]>> = {
  AttributeProto: [
    'string name 1',
    'float f 2',
    'int64 i 3',
    'bytes s 4',
    'TensorProto t 5',
    'GraphProto g 6',
    'repeated float floats 7',
    'repeated int64 ints 8',
    'repeated bytes strings 9',
    'repeated GraphProto graphs 11',
    'int32 type 20',
  ],
  ValueInfoProto: ['string name 1', 'TypeProto type 2'],
  NodeProto: [
    'repeated string input 1',
    'repeated string output 2',
    'string name 3',
    'string op_type 4',
    'repeated AttributeProto attribute 5',
    'string domain 7',
  ],
  ModelProto: [
    'int64 ir_version 1',
    'string producer_name 2',
    'string producer_version 3',
    'GraphProto graph 7',
    'repeated OperatorSetIdProto opset_import 8',
    'repeated StringStringEntryProto metadata_props 14',
  ],
  StringStringEntryProto: ['string key 1', 'string value 2'],
  GraphProto: [
    'repeated NodeProto node 1',
    'string name 2',
    'repeated TensorProto initializer 5',
    'repeated ValueInfoProto input 11',
    'repeated ValueInfoProto output 12',
    'repeated ValueInfoProto value_info 13',
  ],
  TensorProto: [
    'repeated int64 dims 1',
    'int32 data_type 2',
    'packed float float_data 4',
    'packed int32 int32_data 5',
    'packed int64 int64_data 7',
    'string name 8',
    'bytes raw_data 9',
    'packed double double_data 10',
    'packed uint64 uint64_data 11',
    'repeated StringStringEntryProto external_data 13',
    'int32 data_location 14',
  ],
  TypeProto: ['TensorTypeProto tensor_type 1'],
  TensorTypeProto: ['int32 elem_type 1', 'TensorShapeProto shape 2'],
  TensorShapeProto: ['repeated DimensionProto dim 1'],
  DimensionProto: ['int64 dim_value 1', 'string dim_param 2'],
  OperatorSetIdProto: ['string domain 1', 'int64 version 2'],
};

const SCALARS: Readonly<Record<string, Type>> = {
  string: Type.STRING,
  bytes: Type.BYTES,
  float: Type.FLOAT,
  double: Type.DOUBLE,
  int32: Type.INT32,
  int64: Type.INT64,
  uint64: Type.UINT64,
};

function fieldOf(line: string) {
  const words = line.split(' ');
  const [number = '', name = '', type = '', label = ''] = words.reverse();
  const scalar = SCALARS[type];
  return {
    name,
    number: Number(number),
    label: label === '' ? Label.OPTIONAL : Label.REPEATED,
    type: scalar ?? Type.MESSAGE,
    ...(scalar === undefined ? { typeName: `.onnx.${type}` } : {}),
    ...(label === 'packed' ? { options: { packed: true } } : {}),
  };
}

const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: 'onnx_subset.proto',
    package: 'onnx',
    syntax: 'proto2',
    messageType: Object.entries(MESSAGES).map(([name, fields]) => ({
      name,
      field: fields.map(fieldOf),
    })),
  }),
  () => undefined,
);

/** A message type by name, with the TypeScript shape that MESSAGES gives it. */
function schemaOf<T extends Message>(name: T['$typeName']): GenMessage<T> {
  const schema = registry.getMessage(name);
  if (!schema) throw new PartlensError('E_INTERNAL', `${name} is missing from the ONNX schema`);
  return schema as GenMessage<T>;
}

export type StringStringEntryProto = Message<'onnx.StringStringEntryProto'> & {
  key: string;
  value: string;
};

export type TensorProto = Message<'onnx.TensorProto'> & {
  dims: bigint[];
  dataType: number;
  floatData: number[];
  int32Data: number[];
  int64Data: bigint[];
  name: string;
  rawData: Uint8Array;
  doubleData: number[];
  uint64Data: bigint[];
  externalData: StringStringEntryProto[];
  dataLocation: number;
};

export type AttributeProto = Message<'onnx.AttributeProto'> & {
  name: string;
  f: number;
  i: bigint;
  s: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats: number[];
  ints: bigint[];
  strings: Uint8Array[];
  graphs: GraphProto[];
  type: number;
};

export type NodeProto = Message<'onnx.NodeProto'> & {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  attribute: AttributeProto[];
  domain: string;
};

export type DimensionProto = Message<'onnx.DimensionProto'> & {
  dimValue: bigint;
  dimParam: string;
};

export type TensorShapeProto = Message<'onnx.TensorShapeProto'> & { dim: DimensionProto[] };

export type TensorTypeProto = Message<'onnx.TensorTypeProto'> & {
  elemType: number;
  shape?: TensorShapeProto;
};

export type TypeProto = Message<'onnx.TypeProto'> & { tensorType?: TensorTypeProto };

export type ValueInfoProto = Message<'onnx.ValueInfoProto'> & { name: string; type?: TypeProto };

export type OperatorSetIdProto = Message<'onnx.OperatorSetIdProto'> & {
  domain: string;
  version: bigint;
};

export type GraphProto = Message<'onnx.GraphProto'> & {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
};

export type ModelProto = Message<'onnx.ModelProto'> & {
  irVersion: bigint;
  producerName: string;
  producerVersion: string;
  graph?: GraphProto;
  opsetImport: OperatorSetIdProto[];
  metadataProps: StringStringEntryProto[];
};

export const ModelSchema = schemaOf<ModelProto>('onnx.ModelProto');
export const GraphSchema = schemaOf<GraphProto>('onnx.GraphProto');
export const NodeSchema = schemaOf<NodeProto>('onnx.NodeProto');
export const AttributeSchema = schemaOf<AttributeProto>('onnx.AttributeProto');
export const TensorSchema = schemaOf<TensorProto>('onnx.TensorProto');
export const ValueInfoSchema = schemaOf<ValueInfoProto>('onnx.ValueInfoProto');
export const DimensionSchema = schemaOf<DimensionProto>('onnx.DimensionProto');

/** `TensorProto.DataType`. */
export const DataType = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  BFLOAT16: 16,
} as const;

/** `AttributeProto.AttributeType`. */
export const AttributeType = {
  FLOAT: 1,
  INT: 2,
  STRING: 3,
  TENSOR: 4,
  FLOATS: 6,
  INTS: 7,
  STRINGS: 8,
} as const;

/** `TensorProto.DataLocation.EXTERNAL`. */
export const EXTERNAL = 1;
