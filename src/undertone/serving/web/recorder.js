// The microphone: blocks of 0.2 s while it records, all samples at the end.

export class Recorder {
  constructor(onBlock) {
    this.onBlock = onBlock;
    this.blocks = [];
    this.samples = 0;
  }

  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give a page the microphone only over https or on localhost.");
    }
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklet.js");
    this.tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    this.ended = new Promise((resolve) => {
      this.tap.port.onmessage = ({ data }) => (data.length ? this.take(data) : resolve());
    });
    this.context.createMediaStreamSource(this.stream).connect(this.tap);
  }

  take(block) {
    this.blocks.push(block);
    this.samples += block.length;
    this.onBlock(block);
  }

  get rate() { return this.context.sampleRate; }

  get seconds() { return this.samples / this.rate; }

  /** All samples, after the microphone is released. */
  async stop() {
    this.tap.port.postMessage("end");
    await Promise.race([this.ended, new Promise((resolve) => { setTimeout(resolve, 1000); })]);
    await this.release();
    const all = new Float32Array(this.samples);
    let at = 0;
    for (const block of this.blocks) {
      all.set(block, at);
      at += block.length;
    }
    return all;
  }

  async release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}

/** The level of a block in decibels below full scale, -60 to 0. */
export function level(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  return Math.max(-60, Math.min(0, 10 * Math.log10(sum / (block.length || 1) + 1e-12)));
}
