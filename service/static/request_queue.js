/** Serialises requests: one runs, the newest waits, older waiting ones are dropped. */

/**
 * Runs one request at a time, so that responses arrive in order and a slow service is not flooded.
 *
 * A running request is not aborted by a newer one: otherwise continuous drawing would never get a prediction.
 *
 * @template T
 */
export class RequestQueue {
  /** @type {((signal: AbortSignal) => Promise<T>) | null} */
  #waiting = null;

  /** @type {AbortController | null} Of the running request. */
  #running = null;

  #onResponse;
  #onError;

  /**
   * @param {(response: T) => void} onResponse
   * @param {(error: unknown) => void} onError
   */
  constructor(onResponse, onError) {
    this.#onResponse = onResponse;
    this.#onError = onError;
  }

  /**
   * Start a request, now or when the running one is complete.
   * @param {(signal: AbortSignal) => Promise<T>} request
   */
  submit(request) {
    this.#waiting = request;
    if (!this.#running) {
      void this.#run();
    }
  }

  /** Drop the waiting request, and abort the running one; its response is ignored. */
  cancel() {
    this.#waiting = null;
    this.#running?.abort();
    this.#running = null;
  }

  async #run() {
    while (this.#waiting) {
      const request = this.#waiting;
      const controller = new AbortController();
      this.#waiting = null;
      this.#running = controller;
      try {
        const response = await request(controller.signal);
        if (controller.signal.aborted) {
          return; // requests submitted after the cancellation have their own loop
        }
        this.#onResponse(response);
      } catch (error) {
        if (controller.signal.aborted) {
          return;
        }
        this.#onError(error);
      }
      if (this.#running !== controller) {
        return; // cancelled by `onResponse` or `onError`
      }
      this.#running = null;
    }
  }
}
