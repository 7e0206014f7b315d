// Mel spectra as Resemblyzer makes them with librosa: power, Slaney's scale and norm, no logarithm.
import { nn, Tensor } from 'dynaquant';

const rate = 16000;
const size = 400; // samples of a window
const hop = 160;
const bins = size / 2 + 1;

/** The power of a sound in mel bands: `(frames, bands)`, 100 frames a second. */
export function melSpectrum(samples: Float32Array, bands = 40): Tensor {
  const spectrum = fourier()
    .forward(new Tensor(samples, [1, 1, samples.length]))
    .select(0, 0);
  const [real, imaginary] = [spectrum.slice(0, 0, bins), spectrum.slice(0, bins)];
  const power = real.mul(real).add(imaginary.mul(imaginary));
  return melFilters(bands).matmul(power).t();
}

/** The discrete Fourier transform of windows as a convolution: cosines, then sines, under a Hann window. */
function fourier(): nn.Conv1d {
  const waves = Float32Array.from({ length: 2 * bins * size }, (_, i) => {
    const [wave, n] = [Math.floor(i / size), i % size];
    const angle = (2 * Math.PI * (wave % bins) * n) / size;
    const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size);
    return hann * (wave < bins ? Math.cos(angle) : Math.sin(angle));
  });
  const options = { stride: hop, padding: size / 2, bias: false };
  const conv = nn.utils.skipInit(nn.Conv1d, 1, 2 * bins, size, options);
  conv.loadStateDict({ weight: new Tensor(waves, [2 * bins, 1, size]) });
  return conv;
}

/** Triangles between neighbouring mels, of the same area: `(bands, bins)`. */
function melFilters(bands: number): Tensor {
  // Slaney's mels are linear up to 1000 Hz, which is the mel 15, then logarithmic.
  const logStep = Math.log(6.4) / 27;
  const top = 15 + Math.log(rate / 2 / 1000) / logStep;
  const edges = Array.from({ length: bands + 2 }, (_, i) => {
    const mel = (top * i) / (bands + 1);
    return mel < 15 ? (mel * 200) / 3 : 1000 * Math.exp((mel - 15) * logStep);
  });
  const filters = Float32Array.from({ length: bands * bins }, (_, i) => {
    const [band, frequency] = [Math.floor(i / bins), ((i % bins) * rate) / size];
    const [from, peak, to] = edges.slice(band, band + 3) as [number, number, number];
    const height = Math.min((frequency - from) / (peak - from), (to - frequency) / (to - peak));
    return (Math.max(0, height) * 2) / (to - from);
  });
  return new Tensor(filters, [bands, bins]);
}
