/** How much there is to do, counted beside the upload a little at a time, so that the first byte does not wait for the last name. */
import { lstatSync } from "node:fs";
import { AnchoredDirectory } from "../anchored-directory.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";
import { readDirectoryNames } from "./directory-names.ts";

/** Depth to which the tree is followed: a directory is held open for each level. */
const DEPTH_MAX = 512;

/** Counts files and bytes into the meter. Gives up quietly on what it cannot read: the upload will say so. */
export async function estimate(root: string, meter: ProgressMeter, pacer: Pacer, isNeeded: () => boolean): Promise<void> {
  const count = async (directory: AnchoredDirectory, depth: number): Promise<void> => {
    const names = await readDirectoryNames(directory, pacer).catch(() => ({ directories: [], others: [] }));
    for (const name of names.others) {
      if (!isNeeded()) return;
      const stat = lstatSync(directory.child(name), { throwIfNoEntry: false });
      if (stat?.isFile() === true) {
        meter.counts.filesTotal++;
        meter.counts.bytesTotal += stat.size;
      }
      // A turn after every stretch, whoever else has work to do.
      if (pacer.isDue()) await pacer.turn();
    }
    for (const name of names.directories) {
      if (!isNeeded() || depth >= DEPTH_MAX) return;
      let child: AnchoredDirectory;
      try {
        child = directory.openDirectory(name);
      } catch {
        continue;
      }
      try {
        await count(child, depth + 1);
      } finally {
        child.close();
      }
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
