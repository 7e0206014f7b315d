import type { ModuleMetadata } from '../../../nn/module.js';
import { isRecord } from '../safetensors/json.js';
import { refuse } from './arrays.js';
import type { Recurrent } from './layers.js';
import { entryOf, textOf, type Config, type KerasLayer, type Notes } from './model.js';

// What Keras's recurrent layers can do that PyTorch's cannot: it is refused where the numbers would be others, else noted.

/** The metadata of a recurrent layer, whose arrays are known to fit. */
export function recurrentMetadata(layer: KerasLayer, found: Recurrent, notes: Notes): ModuleMetadata {
  const { name, className, config } = layer;
  const { kind, cells, bidirectional, inputSize, hiddenSize } = found;
  const hasBias = cells[0]!.bias !== undefined;
  const cellConfigs = config === undefined ? [] : cellsOf(className, config);
  for (const cell of cellConfigs) checkCell(layer, kind, cell, hasBias);
  if (kind === 'GRU' && cells.some(({ bias }) => bias?.dataset.shape.length === 1))
    refuse(name, 'GRU', resetAfter);
  const activation = cellConfigs[0]?.['activation'];
  if (cellConfigs.some((cell) => cell['activation'] !== activation))
    refuse(name, className ?? kind, 'its cells have different activations');
  if (config === undefined) noteUnknown(name, kind, bidirectional, hasBias, notes);
  else noteOptions(name, className, config, notes);
  const classes = [className, ...(config === undefined ? [] : innerClasses(config))];
  if (classes.some((each) => each !== undefined && !known.has(each)))
    notes.add(
      `${kind} by the shapes of its tensors; what a class of one’s own computes is not in the file`,
      name,
    );
  const numLayers = bidirectional ? 1 : cells.length;
  return {
    type: kind,
    inputSize,
    hiddenSize,
    numLayers,
    bias: hasBias,
    batchFirst: config?.['time_major'] !== true,
    bidirectional,
    ...(kind === 'RNN' ? { nonlinearity: activation === 'relu' ? 'relu' : 'tanh' } : {}),
  };
}

const known = new Set([
  ...['LSTM', 'GRU', 'SimpleRNN', 'RNN', 'Bidirectional'],
  ...['LSTMCell', 'GRUCell', 'SimpleRNNCell', 'StackedRNNCells'],
]);

/** The classes of the layers and cells in a Bidirectional or RNN. */
function innerClasses(config: Config): string[] {
  const inner = [entryOf(config['layer']), entryOf(config['backward_layer'])];
  const configs = [config, ...inner.map((entry) => entry?.config ?? {})];
  const cells = configs.flatMap((each) => [each['cell']].flat()).map(entryOf);
  const stacked = cells.flatMap((cell) => [cell?.config['cells']].flat()).map(entryOf);
  return [...inner, ...cells, ...stacked].flatMap((entry) => entry?.className ?? []);
}

const resetAfter =
  'reset_after is false, so it resets the state before it multiplies; PyTorch’s GRU, and Keras’s by default, reset after';

/** The configurations of the cells in a layer: one a direction and layer. */
function cellsOf(className: string | undefined, config: Config): Config[] {
  if (className !== 'Bidirectional') return cellsOfOne(config);
  return [config['layer'], config['backward_layer']].flatMap((value) => {
    const entry = entryOf(value);
    return entry === undefined ? [] : cellsOfOne(entry.config);
  });
}

/** An RNN has a cell or a list of them; an LSTM is its own cell. */
function cellsOfOne(config: Config): Config[] {
  const cell = entryOf(config['cell']);
  const list = Array.isArray(config['cell']) ? config['cell'] : cell?.config['cells'];
  if (Array.isArray(list)) return list.map((each) => entryOf(each)?.config ?? {});
  return [cell?.config ?? config];
}

function checkCell({ name, className }: KerasLayer, kind: string, config: Config, hasBias: boolean): void {
  const check = (option: string, ...allowed: string[]): void => {
    const value = config[option];
    if (value === undefined || allowed.some((each) => each === value)) return;
    refuse(name, className ?? kind, `${option} should be ${allowed.join(' or ')}, got ${textOf(value)}`);
  };
  if (kind === 'RNN') check('activation', 'tanh', 'relu');
  else {
    check('activation', 'tanh');
    check('recurrent_activation', 'sigmoid');
  }
  // Keras before 2.1 had no such option. With biases their shape tells.
  if (kind === 'GRU' && config['reset_after'] !== true && (!hasBias || config['reset_after'] === false))
    refuse(name, className ?? kind, resetAfter);
}

function noteUnknown(
  name: string,
  kind: string,
  bidirectional: boolean,
  hasBias: boolean,
  notes: Notes,
): void {
  const options = ['activation', ...(kind === 'RNN' ? [] : ['recurrent_activation']), 'go_backwards'];
  if (kind === 'GRU' && !hasBias) options.push('reset_after');
  if (bidirectional) options.push('merge_mode');
  notes.add(`the file does not say ${options.join(', ')}: Keras’s defaults are assumed`, name);
}

function noteOptions(name: string, className: string | undefined, outer: Config, notes: Notes): void {
  const inner = entryOf(outer['layer'])?.config;
  const config = className === 'Bidirectional' && isRecord(inner) ? inner : outer;
  if (config['go_backwards'] === true) {
    if (className === 'Bidirectional') refuse(name, className, 'its forward layer should not go backwards');
    notes.add('goes backwards in Keras: reverse the steps of its input; its outputs are in that order', name);
  }
  if (config['stateful'] === true)
    notes.add('keeps its state between calls in Keras; the state is not in the file', name);
  const merge = outer['merge_mode'];
  if (className === 'Bidirectional' && merge !== 'concat' && merge !== null && merge !== undefined)
    notes.add(`Keras merges both directions by ${textOf(merge)}; here their outputs are concatenated`, name);
}
