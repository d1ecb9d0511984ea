/** Bodies of requests from whoever reaches the port: what all of those that are under way may hold together, and each of them. */
import type { IncomingMessage } from "node:http";

export type BodyRefusal = "tooLarge" | "busy";

/** What of a request is read. */
export type RequestBody = Pick<IncomingMessage, "headers" | "iterator">;

export class BodyBudget {
  readonly eachMax: number;
  #left: number;

  /** In bytes: of one body, and of all together. */
  constructor(eachMax: number, allMax: number) {
    this.eachMax = eachMax;
    this.#left = allMax;
  }

  /**
   * Reads a body and works on its text, which counts until the work is done. A length that is told is looked at before the first byte, but only bytes that have come are counted: whoever
   * promises many and sends none keeps nobody out. What is refused is not read to its end, and its connection still takes an answer. Throws what reading or the work throws.
   */
  async use(request: RequestBody, work: (text: string) => Promise<void>): Promise<BodyRefusal | undefined> {
    const toldBytes = Number(request.headers["content-length"] ?? 0);
    if (toldBytes > this.eachMax) return "tooLarge";
    if (toldBytes > this.#left || this.#left <= 0) return "busy";
    let size = 0;
    try {
      const parts: Buffer[] = [];
      for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (size + part.length > this.eachMax) return "tooLarge";
        if (part.length > this.#left) return "busy";
        size += part.length;
        this.#left -= part.length;
        parts.push(part);
      }
      await work(Buffer.concat(parts, size).toString("utf8"));
      return undefined;
    } finally {
      this.#left += size;
    }
  }
}
