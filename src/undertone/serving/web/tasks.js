// One piece of work at a time: beginning another ends the one before, whose late results are then left out.

export class Tasks {
  #current = null;

  /** The signal of a new task; the task before is aborted. After each `await`: `signal.throwIfAborted()`. */
  begin() {
    this.#current?.abort();
    this.#current = new AbortController();
    return this.#current.signal;
  }

  /** Ends the current task; whether there was one. */
  cancel() {
    const running = this.#current !== null;
    this.#current?.abort();
    this.#current = null;
    return running;
  }

  /** To be called when a task is over, whatever its end. */
  end(signal) {
    if (this.#current?.signal === signal) this.#current = null;
  }
}
