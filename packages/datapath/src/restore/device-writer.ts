/**
 * Writes stretches of a block device at any offset. Whole sectors go past the page cache; the ends of a stretch, which share their sector with its neighbours, go through it. The two
 * never meet in one sector, since a stretch's inner sectors are its own. Zeros are handed to the device as such where it can zero a range by itself: what it held before must not
 * show through.
 */
import { writeSync } from "node:fs";
import { isPageAligned, type SystemCalls } from "@drayage/kernels";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import { wholeBlocksOf } from "./direct-files.ts";
import { isZero } from "./hole-map.ts";

const STAGE_BYTES = 1 << 20;

export interface DeviceDescriptors {
  /** Opened for direct I/O where the device takes it. */
  readonly direct: number;
  readonly buffered: number;
}

export class DeviceWriter {
  readonly #system: SystemCalls;
  #stage: Uint8Array | undefined;
  #canZero = true;

  constructor(system: SystemCalls) {
    this.#system = system;
  }

  /** Throws PATH_*. */
  write({ direct, buffered }: DeviceDescriptors, offset: number, data: Uint8Array, path: string): void {
    const { head, inner } = wholeBlocksOf(offset, data.length);
    this.#writeAll(buffered, data.subarray(0, head), offset, path);
    const whole = data.subarray(head, head + inner);
    if (inner > 0 && !(isZero(whole) && this.#zero(direct, offset + head, inner, path))) this.#writeSectors(direct, whole, offset + head, path);
    this.#writeAll(buffered, data.subarray(head + inner), offset + head + inner, path);
  }

  #writeSectors(fd: number, sectors: Uint8Array, offset: number, path: string): void {
    if (isPageAligned(sectors)) {
      try {
        this.#writeAll(fd, sectors, offset, path);
        return;
      } catch (error) {
        if (!hasErrno(error, "EINVAL")) throw error;
      }
    }
    this.#stage ??= this.#system.alignedBuffer(STAGE_BYTES);
    for (let at = 0; at < sectors.length; at += STAGE_BYTES) {
      const part = sectors.subarray(at, at + STAGE_BYTES);
      this.#stage.set(part);
      this.#writeAll(fd, this.#stage.subarray(0, part.length), offset + at, path);
    }
  }

  /** Lets the device zero the range itself; false where it cannot. */
  #zero(fd: number, offset: number, length: number, path: string): boolean {
    if (!this.#canZero) return false;
    try {
      this.#canZero = this.#system.punchHole(fd, offset, length);
    } catch (error) {
      if (!hasErrno(error, "ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENODEV")) throw pathError("zero a range of", path, error);
      this.#canZero = false;
    }
    return this.#canZero;
  }

  #writeAll(fd: number, bytes: Uint8Array, offset: number, path: string): void {
    for (let done = 0; done < bytes.length; ) {
      const from = done;
      done += atPath("write", path, () => writeSync(fd, bytes, from, bytes.length - from, offset + from));
    }
  }
}
