// Runs on the audio thread: gathers the microphone's blocks of 128 samples to 0.2 s and hands these to the page.
const SECONDS = 0.2;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.gathered = new Float32Array(Math.round(SECONDS * sampleRate));
    this.filled = 0;
    this.port.onmessage = () => {          // the page ends the recording: what is left goes too, then an empty block
      this.hand();
      this.port.postMessage(new Float32Array(0));
    };
  }

  process(inputs) {
    const channel = inputs[0]?.[0] ?? [];
    for (let at = 0; at < channel.length;) {
      const part = channel.subarray(at, at + this.gathered.length - this.filled);
      this.gathered.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === this.gathered.length) this.hand();
    }
    return true;
  }

  hand() {
    if (this.filled) this.port.postMessage(this.gathered.slice(0, this.filled));
    this.filled = 0;
  }
}
registerProcessor("tap", Tap);
