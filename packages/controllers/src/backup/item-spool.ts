import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8, utf8 } from "@drayage/base";
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
    await this.#file.writev([bytes], offset);
    return { offset, lengthBytes: bytes.length };
  }

  async read(item: SpooledItem): Promise<GenericObject> {
    const { buffer } = await this.#file.read({ buffer: new Uint8Array(item.lengthBytes), position: item.offset });
    return JSON.parse(fromUtf8(buffer)) as GenericObject;
  }

  async dispose(): Promise<void> {
    await this.#file.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
