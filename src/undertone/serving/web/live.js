// The answers to a recording while it is made: samples up, cells of the timeline down.
import { pcm } from "./sound.js";

const MOST_WAITING = 1e6;                 // bytes that have not left yet: more is not added

export class Live {
  constructor(rate, token, model, { onUpdate, onProblem }) {
    const address = new URL("v1/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.ready = this.closed = false;
    this.onProblem = onProblem;
    this.waiting = [];                    // blocks from before the server was ready
    this.segments = [];
    this.socket.onopen = () => this.socket.send(JSON.stringify({ rate, model, ...(token ? { token } : {}) }));
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data), onUpdate);
    this.socket.onclose = () => !this.closed && this.end("the connection ended");
  }

  take(message, onUpdate) {
    if (message.type === "ready") {
      this.ready = true;
      this.waiting.splice(0).forEach((block) => this.feed(block));
    }
    if (message.type === "update") {
      this.segments.push(...message.segments);
      onUpdate(this.segments, message.now);
    }
    if (message.type === "error") this.end(message.detail);
  }

  feed(block) {
    if (this.closed) return;
    if (!this.ready) this.waiting.push(block);
    else if (this.socket.bufferedAmount < MOST_WAITING) this.socket.send(pcm(block));
    else this.end("the connection is too slow");      // with blocks left out, all later times would be wrong
  }

  end(why) {
    this.close();
    this.onProblem(why);
  }

  close() {
    this.closed = true;
    this.waiting = [];
    this.socket.onmessage = null;
    this.socket.close();
  }
}
