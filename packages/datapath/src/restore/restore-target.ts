/**
 * Files on their way: what of them is still under way, and what happens when it is not. A file of one content is made by a writer in one go; a larger one is made here, open for
 * writers to put its parts in place, and gets its attributes with the last of them.
 */
import { closeSync, ftruncateSync } from "node:fs";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath } from "../path-errors.ts";
import { openDirect } from "./direct-files.ts";
import { type AttributeSink, type Attributes, applyAttributes } from "./entry-attributes.ts";
import { createFile, removeExisting, removeQuietly } from "./file-writer.ts";
import { HoleMap } from "./hole-map.ts";
import type { JobTarget } from "./planned-transfer.ts";
import type { RestoreContext } from "./restore-context.ts";
import type { ContentRef, RestoreEntry } from "./restore-source.ts";
import { DEVICE_PART, LINK, PART, TARGET, type TargetExtras, WHOLE_FILE } from "./write-job.ts";

const NS_PER_S = 1_000_000_000n;
/** A file system takes milliseconds to find so much; all of a huge file at once would hold up everything else. */
const ROOM_STEP_BYTES = 1 << 30;

/** A directory on its way: given its attributes when its listing was walked and nothing below it is under way. */
export interface DirectoryNode {
  readonly directory: AnchoredDirectory;
  /** Below the root. */
  readonly path: string;
  /** Undefined for one that was there and is only written into. */
  readonly attributes: Attributes | undefined;
  xattrs: readonly { readonly name: string; readonly value: Uint8Array }[];
  readonly parent: DirectoryNode | undefined;
  pending: number;
}

/** A file or a symbolic link on its way. */
export class FileTask {
  readonly node: DirectoryNode;
  readonly entry: RestoreEntry;
  /** Below the root. */
  readonly path: string;
  /** Parts that are under way, and one for the planning of them. */
  pending = 1;
  failed = false;
  /** Why, once it failed. */
  error: unknown;
  #fd: number | undefined;
  #direct: number | undefined;
  /** How much of the file there is room for on the disk, where that is found beforehand. */
  #roomEnd = 0;
  #holes: HoleMap | undefined;

  constructor(node: DirectoryNode, entry: RestoreEntry, path: string) {
    this.node = node;
    this.entry = entry;
    this.path = path;
  }

  get isOpen(): boolean {
    return this.#fd !== undefined;
  }

  get fd(): number {
    return this.#fd ?? -1;
  }

  /** A second descriptor, for writes past the system's cache, or -1. */
  get directFd(): number {
    return this.#direct ?? -1;
  }

  get where(): string {
    return this.node.directory.pathOf(this.entry.name);
  }

  /** The holes that touch a stretch, where there are some. */
  holesWithin(offset: number, length: number): TargetExtras | undefined {
    if (this.entry.holes === undefined) return undefined;
    this.#holes ??= new HoleMap(this.entry.holes);
    const holes = this.#holes.within(offset, length);
    return holes.length === 0 ? undefined : { holes };
  }

  /** Makes the file with its whole length: what is not written is a hole. Throws PATH_*. */
  create(overwrite: boolean): void {
    const at = this.node.directory.child(this.entry.name);
    if (overwrite) removeExisting(at, this.where);
    const fd = createFile(at, this.where);
    this.#fd = fd;
    atPath("write", this.where, () => ftruncateSync(fd, this.entry.size));
    this.#direct = openDirect(fd, this.entry.size);
  }

  /**
   * Finds room for what is written up to `end`, some at a time, where all of it is written past the cache. Into room that is there several threads write side by side; each write that has to
   * find its own keeps the others from the file, and leaves it in more pieces.
   */
  findRoom(end: number, { system, sparse }: Pick<RestoreContext, "system" | "sparse">): void {
    if (this.#direct === undefined || end <= this.#roomEnd || sparse || this.entry.holes !== undefined) return;
    const from = this.#roomEnd;
    this.#roomEnd = Math.min(this.entry.size, Math.max(end, from + ROOM_STEP_BYTES));
    try {
      system.allocate(this.fd, from, this.#roomEnd - from);
    } catch {
      // Writing goes without it, and says what is wrong if something is.
    }
  }

  /** Gives the file its attributes and closes it. Throws PATH_*; the file is then still open. */
  finish(sink: AttributeSink): void {
    if (this.#fd === undefined) return;
    const { entry, path, where } = this;
    applyAttributes(sink, { at: this.node.directory.child(entry.name), path, where, fd: this.#fd }, entry, entry.xattrs ?? []);
    this.#close();
  }

  /** Removes what is half written. */
  remove(): void {
    if (this.#fd === undefined) return;
    this.#close();
    removeQuietly(this.node.directory.child(this.entry.name));
  }

  #close(): void {
    for (const fd of [this.#direct, this.#fd]) if (fd !== undefined) closeSync(fd);
    this.#direct = undefined;
    this.#fd = undefined;
  }
}

/** What becomes of one content: a whole file, a link, a stretch of an open file or of a device. */
export interface RestoreTarget extends JobTarget {
  readonly task: FileTask | undefined;
}

export class WholeTarget implements RestoreTarget {
  readonly task: FileTask;

  constructor(task: FileTask) {
    this.task = task;
  }

  encode(numbers: Float64Array, row: number, directoryOf: Parameters<JobTarget["encode"]>[2]): string {
    const { entry, node } = this.task;
    const seconds = entry.mtimeNs / NS_PER_S - (entry.mtimeNs % NS_PER_S < 0n ? 1n : 0n);
    numbers[row + TARGET.kind] = entry.type === "symlink" ? LINK : WHOLE_FILE;
    numbers[row + TARGET.place] = directoryOf(node.directory);
    numbers[row + TARGET.mode] = entry.mode;
    numbers[row + TARGET.uid] = entry.uid;
    numbers[row + TARGET.gid] = entry.gid;
    numbers[row + TARGET.seconds] = Number(seconds);
    numbers[row + TARGET.nanoseconds] = Number(entry.mtimeNs - seconds * NS_PER_S);
    return entry.name;
  }

  extrasOf(content: ContentRef): TargetExtras | undefined {
    const { xattrs } = this.task.entry;
    const holes = this.task.holesWithin(0, content.originalLength);
    if (xattrs === undefined || xattrs.length === 0) return holes;
    return { xattrs, ...holes };
  }
}

export class PartTarget implements RestoreTarget {
  readonly task: FileTask;
  readonly #offset: number;

  constructor(task: FileTask, offset: number) {
    this.task = task;
    this.#offset = offset;
  }

  encode(numbers: Float64Array, row: number): string {
    numbers[row + TARGET.kind] = PART;
    numbers[row + TARGET.place] = this.task.fd;
    numbers[row + TARGET.mode] = this.task.directFd;
    numbers[row + TARGET.offset] = this.#offset;
    return this.task.where;
  }

  extrasOf(content: ContentRef): TargetExtras | undefined {
    return this.task.holesWithin(this.#offset, content.originalLength);
  }
}

export interface OpenDevice {
  readonly direct: number;
  readonly buffered: number;
  readonly path: string;
  /** How many bytes of it are written; what a content holds beyond is left out. */
  readonly end: number;
}

export class DeviceTarget implements RestoreTarget {
  readonly task: undefined;
  readonly #device: OpenDevice;
  readonly #offset: number;

  constructor(device: OpenDevice, offset: number) {
    this.#device = device;
    this.#offset = offset;
  }

  encode(numbers: Float64Array, row: number): string {
    numbers[row + TARGET.kind] = DEVICE_PART;
    numbers[row + TARGET.place] = this.#device.direct;
    numbers[row + TARGET.mode] = this.#device.buffered;
    numbers[row + TARGET.offset] = this.#offset;
    numbers[row + TARGET.length] = Math.max(0, this.#device.end - this.#offset);
    return this.#device.path;
  }

  extrasOf(): undefined {
    return undefined;
  }
}
