/**
 * Writes the one file of a block snapshot to a block device.
 *
 * Every byte of the object is written, zeros too: what the device held before must not show through. Runs of zeros are handed to the device as such where it can zero a range
 * by itself. What lies beyond the object's end is left alone.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, write } from "node:fs";
import { DrayError, formatBytes } from "@drayage/base";
import { type DirectoryEntry, parseObjectId, textOfByteString } from "@drayage/repo";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import type { RestoreContext } from "./restore-context.ts";
import { isZero } from "./restore-file.ts";

const PIECE_BYTES = 4 << 20;
/** Direct I/O wants offsets and lengths in whole sectors; 4096 suits every device. */
const SECTOR_BYTES = 4096;
const CHUNKS_AHEAD = 3;

/** `path` is a byte string. Throws PATH_NO_SPACE when the device is too small, PATH_IO and the like; USAGE when the path is no block device. */
export async function restoreBlockDevice(context: RestoreContext, entry: DirectoryEntry, path: string): Promise<void> {
  const { repository, signal, meter } = context;
  const length = await repository.objects.length(entry.objectId, signal);
  meter.counts.bytesTotal = length;
  meter.counts.filesTotal = 1;
  meter.counts.totalIsExact = true;
  const fd = openDevice(path);
  try {
    const size = atPath("get the size of", path, () => context.system.blockDeviceSize(fd));
    if (size < length) {
      throw new DrayError("PATH_NO_SPACE", `Cannot restore to "${textOfByteString(path)}": it has ${formatBytes(size)}, ${formatBytes(length)} are wanted`, {
        context: { size, wanted: length },
        hint: "Restore to a device of at least that size.",
      });
    }
    const writer = new DeviceWriter(context, fd, path);
    for await (const data of repository.objects.pieces(entry.objectId, { signal, ahead: CHUNKS_AHEAD })) await writer.write(data);
    await writer.finish();
    atPath("flush", path, () => fsyncSync(fd));
    for await (const { objectId } of repository.objects.chunks(entry.objectId, signal)) {
      meter.counts.bytesUploaded += repository.contents.info(parseObjectId(objectId).contentId)?.packedLength ?? 0;
    }
    meter.counts.filesDone = 1;
  } finally {
    closeSync(fd);
  }
}

/** Gathers chunks into pieces at aligned offsets and writes them. */
class DeviceWriter {
  readonly #context: RestoreContext;
  readonly #fd: number;
  readonly #path: string;
  readonly #piece: Uint8Array;
  #filled = 0;
  /** Where the piece goes. */
  #at = 0;
  #canZero = true;

  constructor(context: RestoreContext, fd: number, path: string) {
    this.#context = context;
    this.#fd = fd;
    this.#path = path;
    this.#piece = context.system.alignedBuffer(PIECE_BYTES);
  }

  async write(data: Uint8Array): Promise<void> {
    for (let from = 0; from < data.length; ) {
      const part = data.subarray(from, from + PIECE_BYTES - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      from += part.length;
      if (this.#filled === PIECE_BYTES) await this.#flush();
    }
  }

  /** Writes what is left; the last bytes without direct I/O where they do not fill a sector. */
  async finish(): Promise<void> {
    const whole = this.#filled - (this.#filled % SECTOR_BYTES);
    const rest = this.#piece.slice(whole, this.#filled);
    this.#filled = whole;
    await this.#flush();
    if (rest.length === 0) return;
    const fd = openBuffered(this.#path);
    try {
      await this.#writeAll(fd, rest, this.#at);
      atPath("flush", this.#path, () => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
    this.#context.meter.counts.bytesDone += rest.length;
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    const bytes = this.#piece.subarray(0, this.#filled);
    if (!(isZero(bytes) && this.#zero(bytes.length))) await this.#writeAll(this.#fd, bytes, this.#at);
    this.#at += this.#filled;
    this.#context.meter.counts.bytesDone += this.#filled;
    this.#filled = 0;
    await this.#context.pacer.pace(64);
  }

  /** Lets the device zero the range itself; false where it cannot. */
  #zero(length: number): boolean {
    if (!this.#canZero) return false;
    try {
      this.#canZero = this.#context.system.punchHole(this.#fd, this.#at, length);
    } catch (error) {
      if (!hasErrno(error, "ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENODEV")) throw pathError("zero a range of", this.#path, error);
      this.#canZero = false;
    }
    return this.#canZero;
  }

  async #writeAll(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const from = done;
      done += await new Promise<number>((resolve, reject) => {
        write(fd, bytes, from, bytes.length - from, offset + from, (error, count) =>
          error === null ? resolve(count) : reject(pathError("write", this.#path, error)),
        );
      });
    }
  }
}

function openDevice(path: string): number {
  const at = Buffer.from(path, "latin1");
  // Exclusive: a device that is mounted is in use, and writing to it would wreck it.
  const open = (flags: number): number => openSync(at, constants.O_RDWR | constants.O_EXCL | flags);
  const fd = atPath("open device", path, () => {
    try {
      return open(constants.O_DIRECT);
    } catch (error) {
      if (!hasErrno(error, "EINVAL")) throw error;
      return open(0);
    }
  });
  if (!fstatSync(fd).isBlockDevice()) {
    closeSync(fd);
    throw new DrayError("USAGE", `Cannot restore to "${textOfByteString(path)}" as a block device: it is none`);
  }
  return fd;
}

/** The device is open already: exclusively again would be refused. */
function openBuffered(path: string): number {
  return atPath("open device", path, () => openSync(Buffer.from(path, "latin1"), constants.O_RDWR));
}
