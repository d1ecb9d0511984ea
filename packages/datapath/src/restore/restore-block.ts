/**
 * Writes the one file of a block snapshot to a block device: its contents in the order of the packs, by several writers, each at its place.
 *
 * Every byte of the object is written, zeros too: what the device held before must not show through. What lies beyond the object's end is left alone.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync } from "node:fs";
import { DrayError, formatBytes } from "@drayage/base";
import { textOfByteString } from "@drayage/repo";
import { atPath, hasErrno } from "../path-errors.ts";
import { PlannedTransfer, type TransferStatistics } from "./planned-transfer.ts";
import { RangePlan } from "./range-plan.ts";
import type { RestoreContext } from "./restore-context.ts";
import type { RestoreEntry } from "./restore-source.ts";
import { DeviceTarget, type OpenDevice } from "./restore-target.ts";
import type { WritePool } from "./write-pool.ts";

const RANGE_TARGETS_MAX = 64;

/** `path` is a byte string, `bytesMax` how much of the object is the device's. Throws PATH_NO_SPACE when the device is too small, PATH_IO and the like; USAGE when the path is no block device. */
export async function restoreBlockDevice(
  context: RestoreContext,
  pool: WritePool,
  entry: RestoreEntry,
  path: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<TransferStatistics> {
  const { meter } = context;
  const device = openDevice(path);
  try {
    const length = Math.min(await lengthOf(context, entry), bytesMax);
    meter.counts.bytesTotal = length;
    meter.counts.filesTotal = 1;
    meter.counts.totalIsExact = true;
    const size = atPath("get the size of", path, () => context.system.blockDeviceSize(device.direct));
    if (size < length) {
      throw new DrayError("PATH_NO_SPACE", `Cannot restore to "${textOfByteString(path)}": it has ${formatBytes(size)}, ${formatBytes(length)} are wanted`, {
        context: { size, wanted: length },
        hint: "Restore to a device of at least that size.",
      });
    }
    const statistics = await new DeviceRestore(context, pool, { ...device, end: length }).run(entry);
    // One flush for both descriptors: they are of one device.
    atPath("flush", path, () => fsyncSync(device.direct));
    meter.counts.filesDone = 1;
    return statistics;
  } finally {
    closeSync(device.buffered);
    closeSync(device.direct);
  }
}

/** Bytes of the object, from the index and its lists alone, before anything is written. */
async function lengthOf({ source, signal }: RestoreContext, entry: RestoreEntry): Promise<number> {
  let end = 0;
  for await (const { offset, content } of source.pieces(entry, signal)) end = offset + content.originalLength;
  return end;
}

class DeviceRestore {
  readonly #context: RestoreContext;
  readonly #device: OpenDevice;
  readonly #pool: WritePool;
  #fatal: { readonly error: unknown } | undefined;

  constructor(context: RestoreContext, pool: WritePool, device: OpenDevice) {
    this.#context = context;
    this.#pool = pool;
    this.#device = device;
  }

  async run(entry: RestoreEntry): Promise<TransferStatistics> {
    const { source, signal, meter, pacer, limits } = this.#context;
    const { rangeBytes, gapBytes, windowBytes, windowTargets } = limits;
    const transfer = new PlannedTransfer<DeviceTarget>({
      ...{ source, pool: this.#pool, limits, check: false, signal },
      onDone: (_target, { originalLength }, error) => {
        if (error === undefined) meter.counts.bytesDone += originalLength;
        else this.#fail(error);
      },
      onWarning: () => undefined,
      onContent: ({ length }) => {
        meter.counts.bytesUploaded += length;
      },
      onFatal: (error) => this.#fail(error),
    });
    let plan = new RangePlan<DeviceTarget>();
    const flush = async (): Promise<void> => {
      const ranges = plan.ranges({ gapBytesMax: gapBytes, rangeBytesMax: rangeBytes, targetsMax: RANGE_TARGETS_MAX });
      plan = new RangePlan();
      for (const range of ranges) await transfer.start(range);
    };
    try {
      for await (const { offset, content } of source.pieces(entry, signal)) {
        if (offset >= this.#device.end) break;
        plan.want(content, new DeviceTarget(this.#device, offset));
        if (plan.targets >= windowTargets || plan.bytes >= windowBytes) await flush();
        await pacer.pace();
      }
      await flush();
    } catch (error) {
      this.#fail(error);
    }
    await transfer.drain();
    if (this.#fatal !== undefined) throw this.#fatal.error;
    return transfer.statistics;
  }

  #fail(error: unknown): void {
    this.#fatal ??= { error };
    this.#context.stop.abort(error);
  }
}

function openDevice(path: string): Omit<OpenDevice, "end"> {
  const at = Buffer.from(path, "latin1");
  // Exclusive: a device that is mounted is in use, and writing to it would wreck it.
  const open = (flags: number): number => openSync(at, constants.O_RDWR | constants.O_EXCL | flags);
  const direct = atPath("open device", path, () => {
    try {
      return open(constants.O_DIRECT);
    } catch (error) {
      if (!hasErrno(error, "EINVAL")) throw error;
      return open(0);
    }
  });
  try {
    if (!fstatSync(direct).isBlockDevice()) throw new DrayError("USAGE", `Cannot restore to "${textOfByteString(path)}" as a block device: it is none`);
    // Open exclusively already: once more would be refused.
    return { direct, buffered: atPath("open device", path, () => openSync(at, constants.O_RDWR)), path };
  } catch (error) {
    closeSync(direct);
    throw error;
  }
}
