import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError, fromUtf8, invariant, messageOf, utf8 } from "@drayage/base";
import type { GenericObject } from "@drayage/kube";

/** Where one object lies in the spool. */
export interface SpooledItem {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Objects put aside until their turn comes: by one caller, one after the other. */
export interface ItemSpool {
  add(object: GenericObject): Promise<SpooledItem>;
  read(item: SpooledItem): Promise<GenericObject>;
  /** Removes what was put aside. */
  dispose(): Promise<void>;
}

/** A spool on local disk, so that the memory of a backup does not grow with what it collects. */
export async function createDiskSpool(): Promise<ItemSpool> {
  const folder = await mkdtemp(join(tmpdir(), "dray-items-"));
  // Objects may be Secrets: nobody else gets to read them.
  return new DiskSpool(folder, await open(join(folder, "items"), "wx+", 0o600));
}

/** What goes to and comes from the disk at once. Objects are small, and mostly asked for in the order in which they came. */
const CHUNK_BYTES = 256 << 10;

/** Both of its buffers are used again and again: fresh ones for each chunk would live long enough to be kept until the whole heap is looked through. */
class DiskSpool implements ItemSpool {
  readonly #folder: string;
  readonly #file: FileHandle;
  /** What was added and is not on disk. */
  readonly #pending: Buffer = Buffer.alloc(CHUNK_BYTES);
  #pendingBytes = 0;
  #writtenBytes = 0;
  /** What was read last. */
  #window: { readonly offset: number; readonly bytes: Uint8Array } = { offset: 0, bytes: new Uint8Array() };
  #windowBuffer: Uint8Array = new Uint8Array();

  constructor(folder: string, file: FileHandle) {
    this.#folder = folder;
    this.#file = file;
  }

  async add(object: GenericObject): Promise<SpooledItem> {
    const text = JSON.stringify(object);
    const lengthBytes = Buffer.byteLength(text);
    if (this.#pendingBytes + lengthBytes > CHUNK_BYTES) await this.#writePending();
    const offset = this.#writtenBytes + this.#pendingBytes;
    if (lengthBytes > CHUNK_BYTES) await this.#write(utf8(text));
    else this.#pendingBytes += this.#pending.write(text, this.#pendingBytes);
    return { offset, lengthBytes };
  }

  async read({ offset, lengthBytes }: SpooledItem): Promise<GenericObject> {
    if (offset + lengthBytes > this.#writtenBytes) await this.#writePending();
    if (offset < this.#window.offset || offset + lengthBytes > this.#window.offset + this.#window.bytes.length) {
      if (this.#windowBuffer.length < lengthBytes) this.#windowBuffer = new Uint8Array(Math.max(lengthBytes, CHUNK_BYTES));
      const length = Math.max(lengthBytes, Math.min(CHUNK_BYTES, this.#writtenBytes - offset));
      const { bytesRead } = await this.#onDisk(() => this.#file.read({ buffer: this.#windowBuffer, length, position: offset }));
      invariant(bytesRead >= lengthBytes, `Cannot read an item that was put aside: ${bytesRead} of ${lengthBytes} bytes are there`);
      this.#window = { offset, bytes: this.#windowBuffer.subarray(0, bytesRead) };
    }
    const { offset: begin, bytes } = this.#window;
    return JSON.parse(fromUtf8(bytes.subarray(offset - begin, offset - begin + lengthBytes))) as GenericObject;
  }

  async #writePending(): Promise<void> {
    await this.#write(this.#pending.subarray(0, this.#pendingBytes));
    this.#pendingBytes = 0;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    // A disk that is nearly full takes a part and says so only of the rest.
    for (let at = 0; at < bytes.length; )
      at += (await this.#onDisk(() => this.#file.write(bytes, at, bytes.length - at, this.#writtenBytes + at))).bytesWritten;
    this.#writtenBytes += bytes.length;
  }

  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const isFull = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
      throw new DrayError(isFull ? "PATH_NO_SPACE" : "PATH_IO", `Cannot put the items of a backup aside in "${this.#folder}": ${messageOf(cause)}`, {
        cause,
        ...(isFull ? { hint: "Free space where the server keeps its temporary files, or give it more." } : {}),
      });
    }
  }

  async dispose(): Promise<void> {
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
