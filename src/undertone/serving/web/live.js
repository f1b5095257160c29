// What the server hears while one is still speaking: samples up, updates down.
import { pcm } from "./recorder.js";

export class Live {
  constructor(rate, token, onNow) {
    const address = new URL("v1/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.ready = false;
    this.socket.onopen = () => this.socket.send(JSON.stringify(token ? { rate, token } : { rate }));
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ready") this.ready = true;
      if (message.type === "update" && message.now) onNow(message.now);
    };
    this.socket.onerror = () => { this.ready = false; };   // the recording goes on without it
    this.socket.onclose = () => { this.ready = false; };
  }

  feed(block) {
    if (this.ready && this.socket.bufferedAmount < 1e6) this.socket.send(pcm(block));
  }

  close() {
    this.socket.onmessage = null;
    this.socket.close();
  }
}
