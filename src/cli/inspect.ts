import { statSync } from 'node:fs';

import { modelFromStateDict, qint8, type nn, type Tensor } from '../index.js';
import { findStateDicts, type FoundStateDict } from '../serialization/find-state-dicts.js';
import { bytesOf, isQuantizable, ownerOf, totalBytes } from './layers.js';
import {
  foundLines,
  loadFile,
  modelOptionsHelp,
  recognise,
  type ModelFile,
  type ModelOptions,
} from './open-model.js';
import { columns, formatBytes, printable } from './terminal.js';

export const inspectHelp = `Usage: dynaquant inspect FILE [options]

Shows the modules of a checkpoint: what they are, the shapes, dtypes and sizes of their tensors, and what
'dynaquant quantize' would make of each. The file may be safetensors, or of PyTorch,
NumPy, ONNX or Keras.

A checkpoint does not say everything of a module (batchFirst, for one): what was assumed is listed last. Of a file
with several state dicts it shows their keys. Prefixes such as 'module.' are left out of all names.

${modelOptionsHelp}
  --json            one JSON document instead of text

Examples
  dynaquant inspect model.pt
  dynaquant inspect checkpoint.pt --key model_state
  dynaquant inspect model.safetensors --json | jq '.modules[].name'
`;

interface ModuleReport {
  name: string;
  type: string;
  /** As PyTorch prints the module. */
  repr: string;
  bytes: number;
  /** Its bytes after `quantize` with default options; null if that would not change it. */
  quantizedBytes: number | null;
  tensors: { name: string; shape: number[]; dtype: string; bytes: number }[];
}

export async function inspect(file: string, options: ModelOptions, json: boolean): Promise<string> {
  const loaded = await loadFile(file, options);
  const found = options.key.length === 0 ? findStateDicts(loaded) : [];
  if (found.length > 1) return overview(file, found, json);
  const opened = recognise(file, loaded, options);
  const modules = report(opened);
  const result = {
    file,
    fileBytes: statSync(file).size,
    keys: opened.keys,
    prefix: opened.prefix,
    tensorBytes: totalBytes(opened.state),
    quantizedBytes: modules.reduce((sum, { bytes, quantizedBytes }) => sum + (quantizedBytes ?? bytes), 0),
    modules,
    assumptions: opened.assumptions,
    notes: Object.fromEntries(opened.state.notes),
  };
  return json ? JSON.stringify(result, null, 2) : text(result);
}

/** The state dicts of a file with several. */
function overview(file: string, found: readonly FoundStateDict[], json: boolean): string {
  const stateDicts = found.map(({ key, tensors }) => ({
    key,
    tensors: tensors.size,
    bytes: totalBytes(tensors),
  }));
  if (json) return JSON.stringify({ file, fileBytes: statSync(file).size, stateDicts }, null, 2);
  const rows = stateDicts.map(({ key, tensors, bytes }) => [
    key === '' ? '(the file itself)' : printable(key),
    tensors === 1 ? '1 tensor' : `${tensors} tensors`,
    formatBytes(bytes),
  ]);
  const title = `${file}: ${formatBytes(statSync(file).size)}, ${found.length} state dicts; choose with --key`;
  return [title, '', columns(rows)].join('\n');
}

function report({ state }: ModelFile): ModuleReport[] {
  // Built for its modules' reprs.
  const { model } = modelFromStateDict(state);
  const modules = new Map(model.namedModules());
  const result = new Map<string, ModuleReport>();
  for (const [key, tensor] of state) {
    const name = ownerOf(state, key);
    const metadata = state.metadata.get(name)!;
    let module = result.get(name);
    if (module === undefined) {
      module = {
        name,
        type: metadata.type,
        repr: ownRepr(modules.get(name)!),
        bytes: 0,
        quantizedBytes: isQuantizable(metadata, qint8, false) ? 0 : null,
        tensors: [],
      };
      result.set(name, module);
    }
    const bytes = bytesOf(tensor);
    const local = name === '' ? key : key.slice(name.length + 1);
    module.tensors.push({ name: local, shape: [...tensor.shape], dtype: tensor.dtype, bytes });
    module.bytes += bytes;
    if (module.quantizedBytes !== null) module.quantizedBytes += quantizedBytes(local, tensor);
  }
  return [...result.values()];
}

/** A float tensor's bytes after quantization: a weight is one byte an element, a scale and a zero point. */
function quantizedBytes(name: string, tensor: Tensor): number {
  return /^(0\.)?weight/.test(name) ? tensor.numel + 8 : 4 * tensor.numel;
}

/** A module's repr without its children's, which is the first line. */
function ownRepr(module: nn.Module): string {
  const [first] = String(module).split('\n');
  return first!.endsWith('(') ? first!.slice(0, -1) : first!;
}

function text(result: {
  file: string;
  fileBytes: number;
  tensorBytes: number;
  quantizedBytes: number;
  modules: ModuleReport[];
  assumptions: string[];
  notes: Record<string, string>;
  keys: readonly string[];
  prefix: string;
}): string {
  const rows: string[][] = [];
  for (const { name, repr, bytes, quantizedBytes: after, tensors } of result.modules) {
    rows.push([
      name === '' ? '(the model)' : name,
      repr,
      formatBytes(bytes),
      after === null ? 'stays' : `to ${formatBytes(after)}`,
    ]);
    for (const tensor of tensors) {
      rows.push([
        `  ${tensor.name}`,
        `  [${tensor.shape.join(', ')}] ${tensor.dtype}`,
        formatBytes(tensor.bytes),
      ]);
    }
  }
  const { fileBytes, tensorBytes, quantizedBytes: after } = result;
  const lines = [
    `${result.file}: ${formatBytes(fileBytes)}, weights ${formatBytes(tensorBytes)}, quantized to INT8 ${formatBytes(after)}`,
    ...foundLines(result),
    '',
    columns(rows.map((row) => row.map(printable))),
  ];
  for (const [key, note] of Object.entries(result.notes)) {
    lines.push('', printable(`note ${key}: ${note.length > 60 ? `${note.slice(0, 57)}…` : note}`));
  }
  if (result.assumptions.length > 0)
    lines.push('', 'Assumed:', ...result.assumptions.map((each) => `  ${printable(each)}`));
  return lines.join('\n');
}
