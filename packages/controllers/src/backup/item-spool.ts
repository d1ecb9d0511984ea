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

/** Objects put aside until their turn comes. */
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

class DiskSpool implements ItemSpool {
  readonly #folder: string;
  readonly #file: FileHandle;
  #lengthBytes = 0;

  constructor(folder: string, file: FileHandle) {
    this.#folder = folder;
    this.#file = file;
  }

  async add(object: GenericObject): Promise<SpooledItem> {
    const bytes = utf8(JSON.stringify(object));
    const offset = this.#lengthBytes;
    this.#lengthBytes += bytes.length;
    // A disk that is nearly full takes a part and says so only of the rest.
    for (let at = 0; at < bytes.length; ) at += (await this.#onDisk(() => this.#file.write(bytes, at, bytes.length - at, offset + at))).bytesWritten;
    return { offset, lengthBytes: bytes.length };
  }

  async read(item: SpooledItem): Promise<GenericObject> {
    const { buffer, bytesRead } = await this.#onDisk(() => this.#file.read({ buffer: new Uint8Array(item.lengthBytes), position: item.offset }));
    invariant(bytesRead === item.lengthBytes, `Cannot read an item that was put aside: ${bytesRead} of ${item.lengthBytes} bytes are there`);
    return JSON.parse(fromUtf8(buffer)) as GenericObject;
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
