// The microphone as 16-bit WAV, written here so that the server needs no converter.

export class Recorder {
  constructor(onSamples) {
    this.onSamples = onSamples;
    this.blocks = [];
  }

  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("This browser gives no microphone to pages without TLS, except on localhost.");
    }
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklet.js");
    const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => {
      this.blocks.push(data);
      this.onSamples?.(data);
    };
    this.context.createMediaStreamSource(this.stream).connect(tap);
  }

  get rate() { return this.context.sampleRate; }

  get seconds() { return this.blocks.reduce((sum, block) => sum + block.length, 0) / this.rate; }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    const { rate } = this;
    await this.context.close();
    return new File([wav(this.blocks, rate)], "recording.wav", { type: "audio/wav" });
  }
}

export function pcm(block) {
  const out = new Int16Array(block.length);
  for (let i = 0; i < block.length; i++) {
    out[i] = Math.max(-32768, Math.min(32767, Math.round(block[i] * 32768)));
  }
  return out;
}

function wav(blocks, rate) {
  const samples = blocks.reduce((sum, block) => sum + block.length, 0);
  const buffer = new ArrayBuffer(44 + 2 * samples);
  const view = new DataView(buffer);
  const ascii = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);          // PCM
  view.setUint16(22, 1, true);          // mono
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);   // bytes a second
  view.setUint16(32, 2, true);          // bytes a frame
  view.setUint16(34, 16, true);         // bits a sample
  ascii(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const block of blocks) {
    new Int16Array(buffer, at, block.length).set(pcm(block));
    at += 2 * block.length;
  }
  return buffer;
}
