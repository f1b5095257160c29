// A sound file as samples at 16 kHz, and samples as a 16-bit WAV file.

export const RATE = 16000;
const MOST_DECODED = 512 * 2 ** 20;       // bytes: a larger file would not fit the browser's memory as samples
const OWN = 0.05;                         // as undertone.audio.channels: a channel differs above this share of its energy
const AUDIBLE = 1e-4;                     // and is silent below this share of the other's

/** The channels of a file at 16 kHz, or null where this browser cannot decode it. */
export async function decode(file) {
  if (file.size > MOST_DECODED) return null;
  try {
    const buffer = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
    return Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  } catch {
    return null;
  }
}

/** Whether two channels hold different sounds: one that is a louder or softer copy, or silent, does not. */
export function differ(channels) {
  if (channels.length !== 2) return false;
  const [a, b] = channels;
  let [sumA, sumB, aa, bb, ab] = [0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    sumA += a[i];
    sumB += b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    ab += a[i] * b[i];
  }
  const n = a.length || 1;
  const [varA, varB, cov] = [aa / n - (sumA / n) ** 2, bb / n - (sumB / n) ** 2, ab / n - (sumA / n) * (sumB / n)];
  const [strong, weak] = varA >= varB ? [varA, varB] : [varB, varA];
  const gain = Math.max(0, cov / Math.max(strong, 1e-30));
  return weak > AUDIBLE * strong && weak - 2 * gain * cov + gain * gain * strong > OWN * weak;
}

/** The mean of the channels. */
export function mixed(channels) {
  if (channels.length === 1) return channels[0];
  const out = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < out.length; i++) out[i] += channel[i] / channels.length;
  return out;
}

export function pcm(samples, gain = 1) {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) out[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * gain * 32768)));
  return out;
}

/** 16-bit WAV; samples beyond full scale make all of it softer, so that none is cut off. */
export function wav(channels, rate = RATE) {
  const [frames, width] = [channels[0].length, channels.length];
  let peak = 1;
  for (const channel of channels) for (let i = 0; i < frames; i++) peak = Math.max(peak, Math.abs(channel[i]));
  const buffer = new ArrayBuffer(44 + 2 * width * frames);
  const view = new DataView(buffer);
  const ascii = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * width * frames, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);                   // PCM
  view.setUint16(22, width, true);               // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * width * rate, true);    // bytes a second
  view.setUint16(32, 2 * width, true);           // bytes a frame
  view.setUint16(34, 16, true);                  // bits a sample
  ascii(36, "data");
  view.setUint32(40, 2 * width * frames, true);
  const out = new Int16Array(buffer, 44);
  channels.forEach((channel, c) => {
    const own = pcm(channel, 1 / peak);
    if (width === 1) out.set(own);
    else for (let i = 0; i < frames; i++) out[i * width + c] = own[i];
  });
  return new Blob([buffer], { type: "audio/wav" });
}

export const PEAKS = 100;                 // a second

/** The largest amplitude of each hundredth of a second. */
export function peaks(samples, rate = RATE) {
  const step = rate / PEAKS;
  const out = new Float32Array(Math.ceil(samples.length / step));
  for (let i = 0; i < samples.length; i++) {
    const place = Math.floor(i / step);
    out[place] = Math.max(out[place], Math.abs(samples[i]));
  }
  return out;
}
