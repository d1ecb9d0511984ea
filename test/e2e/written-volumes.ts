/** Volumes of several applications at once: all are written to, and all are compared. A scenario of docs/generations.md takes the volumes of a pod and of a machine through the same backups. */
import type { Harness } from "./harness.ts";
import { factsOf, inApplication, type SampleVolumes } from "./sample-application.ts";

/** What one application has; the claims give the facts their names, and have to differ. */
export interface WrittenVolumes {
  readonly namespace: string;
  readonly folder: string;
  /** A device. */
  readonly disk?: string;
}

/** Of a pod, for `deployApplication`. */
export const POD_VOLUMES: SampleVolumes = { files: {}, disk: { mode: "Block" } };
/** Of a virtual machine, for `startMachine`. */
export const MACHINE_VOLUMES: SampleVolumes = { data: {}, root: { mode: "Block" } };

export const POD_AND_MACHINE: readonly WrittenVolumes[] = [
  { namespace: "shop", folder: "files", disk: "disk" },
  { namespace: "vms", folder: "data", disk: "root" },
];

/** A new part of each device, and a new file beside what is there. */
export async function writeMore(harness: Harness, volumes: readonly WrittenVolumes[], from: number): Promise<void> {
  for (const { namespace, folder, disk } of volumes) {
    const device = disk === undefined ? "" : `head -c 1000000 /dev/urandom | dd of=/dev/${disk} bs=1M seek=${from} conv=notrunc status=none; `;
    await inApplication(harness, namespace, `${device}head -c 500000 /dev/urandom > /volumes/${folder}/new-${from}; sync`);
  }
}

/** What all of them hold, by claim; their namespaces may have another name, with this at its end. */
export async function factsOfAll(harness: Harness, volumes: readonly WrittenVolumes[], suffix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { namespace, folder, disk } of volumes) {
    found[folder] = withoutMark(await factsOf(harness, `${namespace}${suffix}`, folder));
    if (disk !== undefined) found[disk] = await factsOf(harness, `${namespace}${suffix}`, disk, "Block");
  }
  return found;
}

/** The mark by which a pod's start waits for its files, and the time that it gave their folder. */
const withoutMark = (text: string): string => text.replaceAll(/^.*\.\/\.velero.*\n|^\. d .*\n/gm, "");
