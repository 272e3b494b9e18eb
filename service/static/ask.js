/** Questions in their order: one on its way, the newest waits, older ones are dropped. */

/**
 * Asks one question at a time, so that no answer can overtake a newer one and a slow service is not flooded.
 *
 * A question that is on its way when a newer one comes is let finish: its answer is the newest there is, and a pen that
 * never rests would else never be answered.
 *
 * @template T
 */
export class Asker {
  /** @type {((signal: AbortSignal) => Promise<T>) | null} */
  #waiting = null;

  /** @type {AbortController | null} */
  #current = null;

  #answered;
  #failed;

  /**
   * @param {(answer: T) => void} answered
   * @param {(error: unknown) => void} failed
   */
  constructor(answered, failed) {
    this.#answered = answered;
    this.#failed = failed;
  }

  /**
   * Ask, now or as soon as the question on its way is answered.
   * @param {(signal: AbortSignal) => Promise<T>} question
   */
  ask(question) {
    this.#waiting = question;
    if (!this.#current) {
      void this.#run();
    }
  }

  /** Forget what waits, and whatever the question on its way will be answered. */
  cancel() {
    this.#waiting = null;
    this.#current?.abort();
    this.#current = null;
  }

  async #run() {
    while (this.#waiting) {
      const question = this.#waiting;
      const current = new AbortController();
      this.#waiting = null;
      this.#current = current;
      try {
        const answer = await question(current.signal);
        if (current.signal.aborted) {
          return; // cancelled, and whoever asked since runs by itself
        }
        this.#answered(answer);
      } catch (error) {
        if (current.signal.aborted) {
          return;
        }
        this.#failed(error);
      }
      if (this.#current !== current) {
        return; // the answer led to a cancellation
      }
      this.#current = null;
    }
  }
}
