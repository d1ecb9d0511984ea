/** How much there is to do, counted beside the upload a little at a time, so that the first byte does not wait for the last name. */
import { asBuffer } from "@drayage/base";
import { type BatchFiles, type DirectoryNames, nameBytes, ROW, ROW_SLOTS } from "@drayage/kernels";
import { AnchoredDirectory } from "../anchored-directory.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";

/** Depth to which the tree is followed: a directory is held open for each level. */
const DEPTH_MAX = 512;
const STRETCH = 512;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** Counts files and bytes into the meter. Gives up quietly on what it cannot read: the upload will say so. */
export async function estimate(root: string, files: BatchFiles, meter: ProgressMeter, pacer: Pacer, isNeeded: () => boolean): Promise<void> {
  const rows = new Float64Array(STRETCH * ROW_SLOTS);
  const count = async (directory: AnchoredDirectory, depth: number): Promise<void> => {
    let names: DirectoryNames;
    try {
      names = files.listDirectory(directory.fd);
    } catch {
      return;
    }
    for (let from = names.directories; from < names.ends.length && isNeeded(); from += STRETCH) {
      const to = Math.min(from + STRETCH, names.ends.length);
      files.statEntries(directory.fd, names, { from, to }, false, rows);
      for (let at = 0; at < (to - from) * ROW_SLOTS; at += ROW_SLOTS) {
        if (rows[at + ROW.status] !== 0 || ((rows[at + ROW.mode] ?? 0) & S_IFMT) !== S_IFREG) continue;
        meter.counts.filesTotal++;
        meter.counts.bytesTotal += rows[at + ROW.size] ?? 0;
      }
      // A turn after every stretch, whoever else has work to do.
      if (pacer.isDue(to - from)) await pacer.turn();
    }
    for (let i = 0; i < names.directories && isNeeded() && depth < DEPTH_MAX; i++) {
      let child: AnchoredDirectory;
      try {
        child = directory.openDirectory(asBuffer(nameBytes(names, i)).toString("latin1"));
      } catch {
        continue;
      }
      try {
        await count(child, depth + 1);
      } finally {
        child.close();
      }
      if (pacer.isDue()) await pacer.turn();
    }
  };
  const directory = AnchoredDirectory.open(root);
  try {
    await count(directory, 0);
    meter.counts.totalIsExact = true;
  } finally {
    directory.close();
  }
}
